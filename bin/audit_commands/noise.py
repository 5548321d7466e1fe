"""bin/audit.py noise: the mechanism of a plan alone, as a black box."""

import dataclasses

from absl import flags

from flags import audit_flags
from flags import plan_flags

from dp_fedemb import progress

FLAGS = flags.FLAGS


def audit():
    """Returns JSON values, pictures by name, and text."""
    if FLAGS.num_users is None and FLAGS.model is None:
        raise ValueError(
            'num_users is not given: set it to the size of the population, or model to a run'
        )
    of_run = []
    if FLAGS.model is None:
        rounds = audit_flags.audited_rounds(FLAGS.rounds)
        plan = plan_flags.plan(FLAGS.num_users)

    from dp_fedemb.auditing import finished
    from dp_fedemb.auditing import report
    from dp_fedemb.auditing.mechanism import audit as audit_lib

    if FLAGS.model is not None:
        plan = finished.read_plan(FLAGS.model)
        rounds = audit_flags.audited_rounds(plan.rounds)
        of_run = finished.statement_checks(FLAGS.model, plan)
    found = audit_lib.audit(
        plan,
        coordinates=FLAGS.coordinates,
        runs=FLAGS.audited_runs,
        rounds=rounds,
        confidence=FLAGS.confidence,
        tell=progress.say,
    )
    found = dataclasses.replace(found, checks=[*of_run, *found.checks])
    values = {
        'plan': plan.to_json(),
        'bounds': [bound.to_json() for bound in found.bounds],
        'checks': [check.to_json() for check in found.checks],
        'alarms': found.alarms,
    }
    text = '\n\n'.join(
        [
            report.checks_table(values['checks']).body(),
            report.bounds_table(values['bounds']).body(),
        ]
    )
    return values, {}, text

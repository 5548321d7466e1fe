"""bin/audit.py rounds: the first rounds of a run, from exact sums to its directory."""

import contextlib
import pathlib
import sys
import tempfile

from absl import flags

from flags import groups
from flags import plan_flags
from flags import start_flags

from dp_fedemb import progress

FLAGS = flags.FLAGS


def audit():
    """Returns JSON values, pictures by name, and text."""
    start_flags.check()
    groups.check_task()
    groups.check_model()
    plan_flags.check()
    settings = groups.training(FLAGS.rounds)
    task = groups.task()
    start_flags.check_part(task)
    plan = plan_flags.plan(task.train.num_users)

    from dp_fedemb.auditing import report
    from dp_fedemb.auditing.rounds import audit as audit_lib
    from dp_fedemb.runs import experiment

    model = groups.model(task)
    # What a start says of itself is no part of the result.
    told = contextlib.redirect_stdout(sys.stderr)
    with told, tempfile.TemporaryDirectory(prefix='audit-start-') as folder:
        start = start_flags.start(task, model, pathlib.Path(folder) / 'pretrained')
        steps = audit_lib.audit(
            experiment.Experiment(
                model, plan, settings, task.train, None, start=start, public=task.public
            ),
            rounds=FLAGS.watched_rounds,
            most_clients=FLAGS.watched_clients,
            tell=progress.say,
        )
        found = list(steps)
    values = {
        'task': task.name,
        'start': None if start is None else start.origin.text,
        'plan': plan.to_json(),
        'watched_rounds': FLAGS.watched_rounds,
        'checks': [check.to_json() for check in found],
        'alarms': [check.alarm for check in found if check.failed],
    }
    return values, {}, report.checks_table(values['checks']).body()

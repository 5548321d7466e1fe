"""bin/audit.py canaries: one training, on canaries whose data fair coins decide."""

from absl import flags

from flags import groups
from flags import plan_flags

from dp_fedemb import validate

FLAGS = flags.FLAGS


def audit():
    """Returns JSON values, pictures by name, and text."""
    groups.check_task()
    groups.check_model()
    plan_flags.check()
    settings = groups.training(FLAGS.rounds)

    from dp_fedemb.auditing.canaries import audit as audit_lib

    validate.one_of('canary_kind', FLAGS.canary_kind, audit_lib.KINDS)
    task = groups.task()

    import numpy as np

    from dp_fedemb.auditing import report
    from dp_fedemb.auditing import training

    found = audit_lib.audit(
        task.train,
        training.Training(groups.model(task), settings, task.public),
        plan_flags.plan,
        kind=FLAGS.canary_kind,
        canaries=FLAGS.canaries,
        most_users=FLAGS.most_users,
        confidence=FLAGS.confidence,
        generator=np.random.default_rng(),
    )
    rows = [
        {'seen': seen, **bound.to_json()} for seen, bounds in found.items() for bound in bounds
    ]
    values = {
        'task': task.name,
        'canary_kind': FLAGS.canary_kind,
        'canaries': FLAGS.canaries,
        'bounds': rows,
        'alarms': [
            f'{row["seen"]}, {row["estimator"]}: {report.finding(row)}'
            for row in rows
            if row['alarm']
        ],
    }
    return values, {}, report.bounds_table(rows).body()

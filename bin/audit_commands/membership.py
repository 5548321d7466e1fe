"""bin/audit.py membership: who of a task's users was in training, by models' answers."""

import math

from absl import flags

from flags import audit_flags
from flags import groups
from flags import model_flags
from flags import run_task

from dp_fedemb import progress

FLAGS = flags.FLAGS


def audit():
    """Returns JSON values, pictures by name, and text."""
    if FLAGS.model is not None:
        return _of_model()
    targets = audit_flags.targets()
    groups.check_task()
    groups.check_model()
    settings = groups.training(FLAGS.rounds)
    task = groups.task()

    from dp_fedemb.auditing import estimators
    from dp_fedemb.auditing import plots
    from dp_fedemb.auditing import report
    from dp_fedemb.auditing import training
    from dp_fedemb.auditing.membership import game

    candidates = game.Candidates.of_store(
        task.train, FLAGS.images_per_user, seed=0, most=FLAGS.candidates
    )
    trained = training.Training(groups.model(task), settings, task.public)
    rows, found, claims = [], {}, {}
    for label, target in targets.items():
        plans = {}

        def plan(num_users, target=target, plans=plans):
            if num_users not in plans:
                plans[num_users] = audit_flags.plan_for(num_users, target)
            return plans[num_users]

        attacks = game.play(
            candidates,
            trained,
            plan,
            models=FLAGS.models,
            tell=lambda text, label=label: progress.say(f'{label}: {text}'),
        )
        claim = estimators.Claim.of_plan(min(plans.values(), key=lambda each: each.num_users))
        found[label], claims[label] = attacks, claim
        rows += [
            {'label': label, **attack.to_json(claim, FLAGS.confidence)} for attack in attacks
        ]
    values = {
        'task': task.name,
        'users': len(candidates.candidates),
        'reference_users': len(candidates.reference),
        'models': FLAGS.models,
        'epsilons': {label: claim.epsilon for label, claim in claims.items()},
        'delta': next(iter(claims.values())).delta,
        'attacks': rows,
        'alarms': [
            f'{row["label"]}, {row["attack"]} on {row["images"]}:'
            f' {report.finding(row["bound"])}'
            for row in rows
            if row['bound']['alarm']
        ],
    }
    pictures = {'membership_roc': plots.membership_roc(found)}
    if sum(math.isfinite(claim.epsilon) for claim in claims.values()) > 1:
        pictures['membership'] = plots.membership_by_epsilon(rows, values['epsilons'], claims)
    return values, pictures, report.membership_table(rows).body()


def _of_model():
    """Of a model that is there: attacks, and no bound."""
    run_task.follow([FLAGS.model])
    groups.check_task()
    model_flags.check_there(FLAGS.model)
    model = model_flags.load(FLAGS.model)
    task = groups.task()
    model.check_examples(task.train.example_spec)

    from dp_fedemb.auditing import finished
    from dp_fedemb.auditing import report

    most = FLAGS.candidates or 2000
    rows, members, others = finished.attack_model(
        model, task.train, task.test, FLAGS.images_per_user, most
    )
    rows = [{'label': 'the model', **row} for row in rows]
    values = {
        'task': task.name,
        'model': FLAGS.model,
        'users': members + others,
        'models': 1,
        'attacks': rows,
        'alarms': [],
    }
    text = report.membership_table(rows).body()
    return values, {}, f'{text}\n\n{members} members, {others} others. {report.NO_COINS}'

#!/usr/bin/env python3
"""Attacks our own releases, and holds what that shows against the claimed epsilon.

    bin/audit.py noise --num_users=3400 --noise_multiplier=0.62 --rounds=20
    bin/audit.py rounds --task=synthetic --noise_multiplier=1 --rounds=20
    bin/audit.py canaries --task=synthetic --noise_multiplier=1 --rounds=20
    bin/audit.py membership --task=omniglot --data_dir=DIR --epsilons=none,8

`noise` takes the mechanism of a plan alone, as a black box: distinguishing games on
neighbouring sums, and checks of noise, clip and cohorts; no data, no training. `rounds`
takes the flags of a run and watches its first rounds, from exact sums to the model on the
disk; what it sees is secret, and only verdicts are kept. `canaries` trains once on a task's
users and on canaries whose data fair coins decide. `membership` trains models on halves of
a task's users and asks of every user whether it was in training. With --model, of a
finished run, `noise` takes its plan and `membership` attacks its model. Each prints a
table, and with --output_dir writes audit.json and pictures. A lower bound of epsilon above
the claim, or a check that fails, ends with exit code 1 and a line for each.
"""

import contextlib
import dataclasses
import json
import math
import pathlib
import sys
import tempfile

from absl import flags

from flags import audit_flags
from flags import groups
from flags import model_flags
from flags import plan_flags
from flags import program
from flags import run_task
from flags import start_flags

from dp_fedemb import files
from dp_fedemb import validate

FLAGS = flags.FLAGS

groups.define_task()
groups.define_model()
groups.define_training()
plan_flags.define(clip_norm_default=1.0)
model_flags.define(required=False)
start_flags.define()
audit_flags.define()


def main(arguments):
    if not arguments:
        raise ValueError(f'no command; expected one of {", ".join(COMMANDS)}')
    (command,) = arguments
    validate.one_of('command', command, COMMANDS)
    if FLAGS.output_dir is not None:
        files.check_place(output_dir=FLAGS.output_dir)
    audit_flags.targets()
    groups.training(FLAGS.rounds)
    audit_flags.check_used(command)
    values, pictures, text, alarms = COMMANDS[command]()
    written = _write(command, values, pictures)
    if FLAGS.json:
        print(json.dumps({'command': command, **values}, default=str))
    else:
        from dp_fedemb.auditing import report

        print(text)
        print('\n' + '\n'.join(['ALARM: ' + alarm for alarm in alarms] or [report.NO_ALARM]))
        print(f'\n{report.meaning(values)}')
        if written:
            print(f'\nwritten to {FLAGS.output_dir}: {", ".join(written)}')
    sys.exit(1 if alarms else 0)


def _noise():
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
    from dp_fedemb.auditing.mechanism import audit

    if FLAGS.model is not None:
        plan = finished.read_plan(FLAGS.model)
        rounds = audit_flags.audited_rounds(plan.rounds)
        of_run = finished.statement_checks(FLAGS.model, plan)
    found = audit.audit(
        plan,
        coordinates=FLAGS.coordinates,
        runs=FLAGS.audited_runs,
        rounds=rounds,
        confidence=FLAGS.confidence,
        tell=_tell,
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
    return values, {}, text, found.alarms


def _canaries():
    groups.check_task()
    groups.check_model()
    plan_flags.check()
    settings = groups.training(FLAGS.rounds)

    from dp_fedemb.auditing.canaries import audit

    validate.one_of('canary_kind', FLAGS.canary_kind, audit.KINDS)
    task = groups.task()

    import numpy as np

    from dp_fedemb.auditing import report
    from dp_fedemb.auditing import training

    found = audit.audit(
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
    alarms = [
        f'{row["seen"]}, {row["estimator"]}: epsilon is at least {row["lower"]:.4g},'
        f' {row["claimed"]:.4g} is claimed'
        for row in rows
        if row['alarm']
    ]
    values = {
        'task': task.name,
        'canary_kind': FLAGS.canary_kind,
        'canaries': FLAGS.canaries,
        'bounds': rows,
        'alarms': alarms,
    }
    return values, {}, report.bounds_table(rows).body(), alarms


def _rounds():
    start_flags.check()
    groups.check_task()
    groups.check_model()
    plan_flags.check()
    settings = groups.training(FLAGS.rounds)
    task = groups.task()
    start_flags.check_part(task)
    plan = plan_flags.plan(task.train.num_users)

    from dp_fedemb.auditing import report
    from dp_fedemb.auditing.rounds import audit
    from dp_fedemb.runs import experiment

    model = groups.model(task)
    # What a start says of itself is no part of the result.
    told = contextlib.redirect_stdout(sys.stderr)
    with told, tempfile.TemporaryDirectory(prefix='audit-start-') as folder:
        start = start_flags.start(task, model, pathlib.Path(folder) / 'pretrained')
        steps = audit.audit(
            experiment.Experiment(
                model, plan, settings, task.train, None, start=start, public=task.public
            ),
            rounds=FLAGS.watched_rounds,
            most_clients=FLAGS.watched_clients,
            tell=_tell,
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
    return values, {}, report.checks_table(values['checks']).body(), values['alarms']


def _membership_of_model():
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
    return values, {}, f'{text}\n\n{members} members, {others} others. {report.NO_COINS}', []


def _membership():
    if FLAGS.model is not None:
        return _membership_of_model()
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
            tell=lambda text, label=label: _tell(f'{label}: {text}'),
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
    }
    alarms = [
        f'{row["label"]}, {row["attack"]} on {row["images"]}: epsilon is at least'
        f' {row["bound"]["lower"]:.4g}, {row["bound"]["claimed"]:.4g} is claimed'
        for row in rows
        if row['bound']['alarm']
    ]
    pictures = {'membership_roc': plots.membership_roc(found)}
    if sum(math.isfinite(claim.epsilon) for claim in claims.values()) > 1:
        pictures['membership'] = plots.membership_by_epsilon(rows, values['epsilons'], claims)
    return {**values, 'alarms': alarms}, pictures, report.membership_table(rows).body(), alarms


def _tell(text):
    import tqdm

    # Above the bar of a run that is at work.
    tqdm.tqdm.write(f'  {text}', file=sys.stderr)


def _write(command, values, pictures):
    if FLAGS.output_dir is None:
        return []
    from dp_fedemb.auditing import report
    from dp_fedemb.evaluation.figures import drawing

    directory = pathlib.Path(FLAGS.output_dir)
    files.make_directory(directory)
    # First what audit.json names.
    drawing.save(pictures, directory)
    path = report.write(directory, command, {**values, 'pictures': sorted(pictures)})
    return [path.name, *(f'{name}.png' for name in pictures)]


COMMANDS = {
    'noise': _noise,
    'rounds': _rounds,
    'canaries': _canaries,
    'membership': _membership,
}


if __name__ == '__main__':
    program.run(main, positional=1)

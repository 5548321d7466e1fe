#!/usr/bin/env python3
"""Trains image embeddings with user-level differential privacy (DP-FedEmb).

    bin/train.py --flagfile=tasks/configs/demo.flags --output_dir=runs/demo

The same command again goes on from the last checkpoint; a finished run says so.
"""

import dataclasses
import os

from absl import flags

from flags import groups
from flags import host
from flags import plan_flags
from flags import pretraining_flags
from flags import program
from flags import start_flags

from dp_fedemb import configured_directory
from dp_fedemb import pathnames

FLAGS = flags.FLAGS

groups.define_task()
groups.define_model()
groups.define_training()
plan_flags.define()
start_flags.define()

flags.DEFINE_string('output_dir', None, 'Directory of the run.', required=True)
flags.DEFINE_integer(
    'seed',
    None,
    'Makes the run repeatable. It is a secret: whoever knows it can subtract the noise. By'
    ' default from the operating system.',
    lower_bound=0,
    upper_bound=2**256,
)
flags.DEFINE_float(
    'budget_epsilon',
    None,
    'Most that all runs on these users may cost together; what they cost is in the ledger'
    ' beside the training store, see bin/privacy.py ledger.',
    lower_bound=1e-12,
    upper_bound=1e6,
)
flags.DEFINE_bool(
    'auto',
    None,
    'Choose what no flag says from the counts of the collection, and print it as flags. By'
    ' default for --task=image_folder.',
)
flags.DEFINE_bool(
    'require_private',
    False,
    'Refuse to train where the result would have no epsilon of its own.',
)
flags.DEFINE_enum(
    'evaluation_part',
    'test',
    ['test', 'validation'],
    'Unseen identities that are evaluated on: settings are chosen on those of validation.',
)
flags.DEFINE_string(
    'tuning',
    None,
    'Your word for the statement, how the settings were chosen at no cost to the users of'
    ' this run; the best.flags of a public bin/sweep.py has it.',
)
flags.DEFINE_bool(
    'trial_of_selection',
    False,
    'This run is a trial of a private selection (bin/sweep.py): the ledger gets the selection'
    ' and not the run, so that nothing of the run may be released or looked at.',
)
flags.DEFINE_bool(
    'profile',
    False,
    'Trace the next round for TensorBoard under OUTPUT_DIR/profile, and print how long each'
    ' part of it takes, before going on with the run.',
)


def main(_):
    settings = _checked_settings()
    if settings.engine == 'in_process':
        # Read by TensorFlow when it is first used; a worker gets it at its own start.
        os.environ['TF_NUM_INTRAOP_THREADS'] = str(settings.intra_op_threads)
    task = groups.task()
    print(task.summary(), flush=True)
    unseen = _unseen(task)
    start_flags.check_part(task)
    if groups.is_auto():
        settings = _advised(task)
    plan_flags.follow(FLAGS.output_dir)
    plan = plan_flags.plan(task.train.num_users)

    # TensorFlow takes seconds to load, so what can be wrong without it comes before.
    from dp_fedemb.runs import advice
    from dp_fedemb.runs import directory as directory_lib
    from dp_fedemb.runs import experiment
    from dp_fedemb.runs import summary

    model = groups.model(task)
    counts = model.weight_counts()
    print(f'backbone: {counts}', flush=True)
    warning = advice.warning(plan, counts.noised, FLAGS.target_epsilon)
    if warning:
        print(f'\n{warning}\n', flush=True)
    directory = directory_lib.RunDirectory(FLAGS.output_dir)
    run = experiment.Experiment(
        model,
        plan,
        settings,
        task.train,
        unseen,
        start=start_flags.start(task, model, directory.pretrained),
        facts=_facts(task, directory),
        require_private=FLAGS.require_private,
        budget_epsilon=FLAGS.budget_epsilon,
        in_ledger=not FLAGS.trial_of_selection,
        tuning=FLAGS.tuning,
        validation=task.validation,
        public=task.public,
    )
    directory.check(run.config(), run.absent())
    with host.at_work():
        if run.is_finished(directory):
            print(f'This run is finished: {FLAGS.rounds} rounds.')
        run.run(directory, FLAGS.seed, FLAGS.profile)
    print(summary.text(directory))


def _is_noisy():
    return FLAGS.target_epsilon is not None or bool(FLAGS.noise_multiplier)


def _advised(task):
    """Sets what no flag says, and returns how to train."""
    from dp_fedemb.runs import advice

    spec = task.train.example_spec
    if not spec.is_image:
        raise ValueError(f'auto: the examples are of {spec}, expected images; set --auto=false')
    collection = advice.Collection(
        task.train.num_users, task.train.num_examples, spec.shape[0], spec.shape[-1]
    )
    chosen = {
        name: value
        for name, value in advice.flags(collection, _is_noisy()).items()
        if not FLAGS[name].present
    }
    for name, value in chosen.items():
        flag = FLAGS[name]
        flag.value = flag.parser.parse(value if isinstance(value, str) else str(value))
    print(f'auto, from the counts: {advice.as_flags(chosen)}', flush=True)
    return _checked_settings()


def _checked_settings():
    """Returns how to train; refuses what is wrong whatever the data are, at once."""
    from dp_fedemb.runs import advice

    settings = groups.training(FLAGS.rounds)
    if groups.is_auto() and _is_noisy() and FLAGS.clip_norm is None:
        FLAGS['clip_norm'].value = advice.CLIP_NORM
    plan_flags.check()
    _check_guarantee()
    pathnames.check_place(output_dir=FLAGS.output_dir)
    configured_directory.ConfiguredDirectory(FLAGS.output_dir).check_kind()
    groups.check_cache(FLAGS.output_dir)
    start_flags.check()
    groups.check_task()
    groups.check_model()
    return settings


def _check_guarantee():
    """Refuses promises that the flags cannot keep, whatever the data are."""
    if not _is_noisy():
        for name in ('require_private', 'budget_epsilon', 'trial_of_selection'):
            if FLAGS[name].value:
                raise ValueError(
                    f'{name}={FLAGS[name].value} without noise: this run would have no epsilon;'
                    ' set target_epsilon or noise_multiplier, or leave it out'
                )
    budget, target = FLAGS.budget_epsilon, FLAGS.target_epsilon
    if None not in (budget, target) and target > budget:
        raise ValueError(
            f'target_epsilon={target} above budget_epsilon={budget}: this run alone would'
            ' overspend the budget; lower the target, or raise the budget'
        )


def _unseen(task):
    """Returns the identities to evaluate on."""
    if FLAGS.evaluation_part not in task.stores:
        raise ValueError(
            f'evaluation_part={FLAGS.evaluation_part}: task {task.name} has no such part here;'
            f' it has {", ".join(task.stores)}. Options of the task make one, see'
            f' tasks/{task.name}.py'
        )
    return task.stores[FLAGS.evaluation_part]


def _facts(task, directory):
    """What decides what the run computes, beside model, plan and settings."""
    start = FLAGS.pretrained
    if start not in (None, 'public'):
        start = directory.name_of_start(start)
    facts = {
        'task': FLAGS.task,
        'task_option': FLAGS.task_option,
        **groups.record(),
        'pretrained': start,
        'pretrained_partial': FLAGS.pretrained_partial,
        'data': {
            part: [store.num_users, store.num_identities, store.num_examples]
            for part, store in task.stores.items()
        },
    }
    if FLAGS.evaluation_part != 'test':
        facts['evaluation_part'] = FLAGS.evaluation_part
    if FLAGS.pretrained == 'public':
        pretraining = pretraining_flags.config(task.train.example_spec.shape[-1], 'pretrain_')
        facts['pretraining'] = dataclasses.asdict(pretraining)
    return facts


if __name__ == '__main__':
    program.run(main)

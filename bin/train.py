#!/usr/bin/env python3
"""Trains image embeddings with user-level differential privacy (DP-FedEmb).

    bin/train.py --flagfile=tasks/configs/demo.flags --output_dir=runs/demo

The same command again goes on from the last checkpoint; a finished run says so.
"""

import dataclasses
import os

from absl import flags

from flags import groups
from flags import plan_flags
from flags import pretraining_flags
from flags import program

FLAGS = flags.FLAGS

groups.define_task()
groups.define_model()
groups.define_training()
plan_flags.define()
pretraining_flags.define('pretrain_')

flags.DEFINE_string('output_dir', None, 'Directory of the run.', required=True)
flags.DEFINE_string(
    'pretrained',
    None,
    'Start: directory of a SavedModel or of a run; or "public" to pretrain on the public'
    ' part of the task first, as the --pretrain_... flags say.',
)
flags.DEFINE_bool(
    'pretrained_partial',
    False,
    'Load what fits of --pretrained, and leave the rest fresh, instead of refusing.',
)
flags.DEFINE_integer(
    'seed',
    None,
    'Makes the run repeatable. It is a secret: whoever knows it can subtract the noise. By'
    ' default from the operating system.',
    lower_bound=0,
)
flags.DEFINE_bool(
    'profile',
    False,
    'Trace the next round for TensorBoard under OUTPUT_DIR/profile, and print how long each'
    ' part of it takes, before going on with the run.',
)


def main(_):
    settings = groups.training(FLAGS.rounds)
    if settings.engine == 'in_process':
        # Read by TensorFlow when it is first used; a worker gets it at its own start.
        os.environ['TF_NUM_INTRAOP_THREADS'] = str(settings.intra_op_threads)
    task = groups.task()
    print(task.summary(), flush=True)
    plan = plan_flags.plan(task.train.num_users)

    from dp_fedemb.runs import directory
    from dp_fedemb.runs import summary

    directory = directory.RunDirectory(FLAGS.output_dir)
    config = _config(settings, plan, task)
    directory.check(config)
    if 'trained' in (directory.read_json('evaluation.json') or {}):
        print(f'This run is finished: {FLAGS.rounds} rounds.')
    else:
        _train(settings, task, plan, directory, config)
    print(summary.text(directory))


def _train(settings, task, plan, directory, config):
    # TensorFlow takes seconds to load, so what can be wrong without it comes before.
    from dp_fedemb.runs import experiment
    from dp_fedemb.runs import signals

    model = groups.model(task)
    print(f'backbone: {model.weight_counts()}', flush=True)
    origin = _origin(plan)
    run = experiment.Experiment(model, plan, settings, task.train, task.test)
    directory.begin(config)
    with signals.end_cleanly():
        run.run(directory, FLAGS.seed, _start(task, model, directory), origin, FLAGS.profile)


def _origin(plan):
    """Whose images the start has seen; refuses one that voids the guarantee."""
    if FLAGS.pretrained is None:
        return None
    from dp_fedemb.models import pretrained

    if FLAGS.pretrained == 'public':
        return f'pretrained on the public part of task {FLAGS.task}'
    origin = pretrained.read_origin(FLAGS.pretrained)
    if plan.private and origin.voids_guarantee:
        raise ValueError(
            f'pretrained={FLAGS.pretrained!r}: {origin.text}, so that what starts from it has'
            ' no epsilon; choose a start from public images, or train without noise'
        )
    return origin.text


def _start(task, model, directory):
    """Returns the function that makes the start weights of --pretrained, or None."""
    if FLAGS.pretrained is None:
        return None
    from dp_fedemb.models import pretrained

    def start():
        source = FLAGS.pretrained
        if source == 'public':
            source = directory.pretrained
            unfrozen = groups.model(task, freeze='')
            pretraining_flags.pretrain_public(task, unfrozen, source)
        weights, report = pretrained.load(source, model, FLAGS.pretrained_partial)
        print(report, flush=True)
        return weights

    return start


def _config(settings, plan, task):
    """What decides what the run computes, as config.json has it."""
    from dp_fedemb import settings as settings_lib

    config = {
        'task': FLAGS.task,
        'task_option': FLAGS.task_option,
        **groups.record(),
        'pretrained': FLAGS.pretrained,
        'pretrained_partial': FLAGS.pretrained_partial,
    }
    config['data'] = {
        part: [store.num_users, store.num_identities, store.num_examples]
        for part, store in task.stores.items()
    }
    if FLAGS.pretrained == 'public':
        pretraining = pretraining_flags.config(task.train.example_spec.shape[-1], 'pretrain_')
        config['pretraining'] = dataclasses.asdict(pretraining)
    config['plan'] = plan.to_json()
    config['training'] = settings_lib.record(settings)
    return config


if __name__ == '__main__':
    program.run(main)

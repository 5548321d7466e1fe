"""Trains image embeddings with user-level differential privacy (DP-FedEmb).

    bin/train.py --flagfile=tasks/configs/demo.flags --output_dir=runs/demo

The same command again goes on from the last checkpoint; a finished run says so.
"""

import dataclasses

import common
import flag_groups
import privacy_flags
from absl import flags

FLAGS = flags.FLAGS

flag_groups.define_task()
flag_groups.define_model()
flag_groups.define_training()
privacy_flags.define(rounds_default=100)

flags.DEFINE_string('output_dir', None, 'Directory of the run.', required=True)
flags.DEFINE_string(
    'pretrained', None,
    'Start: directory of a SavedModel or of a run; or "public" to pretrain on the public'
    ' part of the task first.',
)
flags.DEFINE_integer(
    'seed', None,
    'Makes the run repeatable. It is a secret: whoever knows it can subtract the noise. By'
    ' default from the operating system.',
)

# Decide what a run computes, beside its plan and its settings; a directory belongs to
# one combination.
_CONFIGURING = (
    'task', 'data_seed', 'max_examples_per_user', 'task_option', 'backbone', 'embedding_dim',
    'head', 'freeze', 'precision', 'pretrained',
)
# Where and how often, which change nothing but the order of float sums.
_NOT_CONFIGURING = ('schedule', 'engine', 'client_parallelism', 'intra_op_threads')


def main(_):
    settings = flag_groups.training(FLAGS.rounds)
    task = flag_groups.task()
    print(task.summary(), flush=True)
    plan = privacy_flags.plan(task.train.num_users)
    model = flag_groups.model(task)

    from dp_fedemb.simulation import experiment
    from dp_fedemb.simulation import run_directory
    from dp_fedemb.simulation import signals
    from dp_fedemb.simulation import summary

    directory = run_directory.RunDirectory(FLAGS.output_dir)
    directory.begin(_config(settings, plan, task))
    if 'trained' in (directory.read_json('evaluation.json') or {}):
        print(f'This run is finished: {FLAGS.rounds} rounds.')
    else:
        run = experiment.Experiment(model, plan, settings, task.train, task.test)
        with signals.end_cleanly():
            run.run(directory, FLAGS.seed, flag_groups.start(task, model, directory))
    print(summary.text(directory))


def _config(settings, plan, task):
    config = {name: FLAGS[name].value for name in _CONFIGURING}
    config['data'] = {
        part: [store.num_users, store.num_identities, store.num_examples]
        for part, store in task.stores.items()
    }
    config['plan'] = plan.to_json()
    config['training'] = {
        name: value
        for name, value in dataclasses.asdict(settings).items()
        if name not in _NOT_CONFIGURING
    }
    return config


if __name__ == '__main__':
    common.run(main)

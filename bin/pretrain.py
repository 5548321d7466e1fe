#!/usr/bin/env python3
"""Trains a backbone without privacy: a public start, or the centralised baseline.

    bin/pretrain.py --task=synthetic --output_dir=runs/start
    bin/train.py --task=synthetic --pretrained=runs/start --output_dir=runs/private

With --part=train it sees the training users' images: the non-private baseline.
The same command again finds the result; an interrupted training begins anew.
"""

import pathlib

from absl import flags

from flags import from_settings
from flags import groups
from flags import host
from flags import pretraining_flags
from flags import program

from dp_fedemb import configured_directory
from dp_fedemb import json_files
from dp_fedemb import pathnames

FLAGS = flags.FLAGS

groups.define_task()
groups.define_model()
pretraining_flags.define()

flags.DEFINE_enum(
    'part',
    'public',
    ['public', 'train'],
    "Images to train on. public: the task's public part. train: those of the training users,"
    ' the centralised baseline, which is NOT PRIVATE.',
)
flags.DEFINE_enum(
    'evaluation_part', 'test', ['test', 'validation'], 'Unseen identities to evaluate on.'
)
flags.DEFINE_string('output_dir', None, 'Directory of the result.', required=True)
flags.DEFINE_string(
    'pretrained', None, 'Start: directory of a SavedModel, or of a run; fresh by default.'
)
flags.DEFINE_bool(
    'pretrained_partial',
    False,
    'Load what fits of --pretrained, and leave the rest fresh, instead of refusing.',
)
flags.DEFINE_integer(
    'seed',
    0,
    'Of fresh weights, order and augmentation. Not secret: it is in config.json.',
    lower_bound=0,
    upper_bound=2**63 - 1,
)


def main(_):
    from_settings.need('pretrained_partial', 'pretrained')
    pathnames.check_place(output_dir=FLAGS.output_dir)
    configured_directory.ConfiguredDirectory(FLAGS.output_dir, 'pretraining').check_kind()
    groups.check_cache(FLAGS.output_dir)
    groups.check_start(public=False)
    groups.check_task()
    groups.check_model()
    task = groups.task()
    print(task.summary(), flush=True)
    store = _part(task, 'part')
    unseen = _part(task, 'evaluation_part')
    model = groups.model(task)
    config = pretraining_flags.config(store.example_spec.shape[-1])

    from dp_fedemb.pretraining import pretrain

    users_images = FLAGS.part == 'train'
    notice = pretrain.NOT_PRIVATE_NOTICE if users_images else pretrain.PUBLIC_NOTICE
    print(notice, flush=True)
    directory = pathlib.Path(FLAGS.output_dir)
    start = _start(model)
    with host.at_work():
        began = pretrain.pretrain_once(
            directory, model, store, config, FLAGS.seed, start, users_images
        )
    if not began:
        print(f'{directory} holds the result of this command already.')
    scores = _scores(directory, model, unseen, start)
    with json_files.whole(directory, 'delete its evaluation, which is written again'):
        table = _table(scores)
    print(table)
    print(f'\noutputs: {directory.absolute()}')
    if users_images:
        print(f'\n{notice}')
    else:
        print(f'  give it to bin/train.py as --pretrained={directory}')


def _part(task, flag):
    name = FLAGS[flag].value
    if name not in task.stores:
        raise ValueError(
            f'{flag}={name}: task {task.name} has no such part here; it has'
            f' {", ".join(task.stores)}. Options of the task make one, see tasks/{task.name}.py'
        )
    return task.stores[name]


def _start(model):
    """Weights of --pretrained, or None."""
    from dp_fedemb.models import pretrained

    if not FLAGS.pretrained:
        return None
    weights, report = pretrained.load(
        FLAGS.pretrained, model, FLAGS.pretrained_partial, FLAGS.seed
    )
    print(report, flush=True)
    return weights


def _scores(directory, model, unseen, start):
    """Metrics on unseen identities by stage, computed once for each part."""
    path = directory / f'evaluation_{FLAGS.evaluation_part}.json'
    if path.exists():
        return json_files.read(path, 'delete it, and it is written again')

    from dp_fedemb.models import pretrained
    from dp_fedemb.runs import evaluator

    weights, _ = pretrained.load(directory, model)
    stages = {'untrained': model.initial_weights(FLAGS.seed)}
    if start is not None:
        stages['start'] = start
    stages['trained'] = weights
    evaluate = evaluator.Evaluator(model, unseen)
    scores = {stage: evaluate(*values) for stage, values in stages.items()}
    json_files.write(path, scores)
    return scores


def _table(scores):
    from dp_fedemb import tables

    names = list(scores['trained'])
    title = f'unseen identities ({FLAGS.evaluation_part})'
    rows = [[title, *names]]
    for stage, values in scores.items():
        if stage == 'trained' and FLAGS.part == 'train':
            stage = 'trained, NOT PRIVATE'
        rows.append([stage, *(f'{values[name]:.4f}' for name in names)])
    return '\n' + tables.text(rows, 'lr')


if __name__ == '__main__':
    program.run(main)

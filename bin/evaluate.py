#!/usr/bin/env python3
"""Evaluates a model on identities that training never saw.

    bin/evaluate.py --model=runs/demo --task=synthetic --plots --output_dir=reports/demo
    bin/evaluate.py --compare runs/one runs/two --task=synthetic --output_dir=reports/both

`--model` is a run's directory or a SavedModel. Pixels and whitened PCA are always shown
beside it. With `--output_dir`, figures go to evaluation.json and every table to a CSV
file (identities.csv and users.csv name people); with `--plots`, pictures and a
self-contained report.html are made, too. What no flag says of the task is as the run was
trained.
"""

import dataclasses
import json
import os
import pathlib

from absl import flags

from flags import from_settings
from flags import groups
from flags import model_flags
from flags import program
from flags import run_task

from dp_fedemb import pathnames

FLAGS = flags.FLAGS

groups.define_task()
model_flags.define(required=False)
model_flags.define_part()
flags.DEFINE_bool(
    'compare', False, 'Evaluates the models whose directories follow side by side.'
)
flags.DEFINE_list(
    'metrics',
    None,
    "Of verification, retrieval, clustering, pairs (the task's own protocol). By default the"
    ' first three, and pairs if there are any.',
)
model_flags.define_fars(
    ['1e-1', '1e-2', '1e-3', '1e-4', '1e-5', '1e-6'],
    'False accept rates to state the recall at.',
)
flags.DEFINE_float(
    'far',
    1e-3,
    'The false accept rate to speak of first; where the pairs do not settle it, the next'
    ' larger one of --fars that they do.',
)
flags.DEFINE_string(
    'groups',
    None,
    'Shows recall by group: "parent" for the folder around each identity\'s, or a list with a'
    ' line "name,group" for each user, identity or image.',
)
flags.DEFINE_list(
    'pairs_files',
    [],
    'Lists of pairs with their pictures, in the .bin format of insightface (CFP-FP,'
    ' AgeDB-30, CALFW), to evaluate as well.',
)
flags.DEFINE_string('output_dir', None, 'For evaluation.json, pictures and the report.')
flags.DEFINE_bool('plots', False, 'Draw pictures and write report.html.')
flags.DEFINE_bool(
    'show_images',
    False,
    'Put images of the evaluated people into the report, with their nearest neighbours.',
)
flags.DEFINE_bool(
    'projector',
    False,
    'Write the embeddings and small images for TensorBoard (tensorboard --logdir=OUTPUT_DIR),'
    ' with the ROC curve.',
)
flags.DEFINE_bool('json', False, 'Print one JSON object instead of the table.')


def main(runs):
    questions = _questions()
    from_settings.need('show_images', 'plots')
    from_settings.need('projector', 'output_dir')
    output = _output_directory()
    paths = _models(runs)
    groups.check_files('pairs_files')
    if FLAGS.groups != 'parent':
        groups.check_files('groups')
    run_task.follow(paths)
    task = groups.task()
    store = model_flags.part(task)

    from dp_fedemb.auditing import report_section
    from dp_fedemb.evaluation import evaluated
    from dp_fedemb.evaluation import evaluation_tables
    from dp_fedemb.evaluation import grouping
    from dp_fedemb.evaluation.report import writing
    from dp_fedemb.models import saved_model

    if FLAGS.groups is not None:
        grouping.groups(store, FLAGS.groups)  # Before anything takes time.
    models = [_load(path, store) for path in paths]
    pairs = task.pairs if FLAGS.part == 'test' else None
    if questions.metrics is None:
        metrics = ('verification', 'retrieval', 'clustering', *(['pairs'] if pairs else []))
        questions = dataclasses.replace(questions, metrics=metrics)
    others = {name: part for name, part in task.stores.items() if name != FLAGS.part}
    rivals, missing = evaluated.rivals_of(store, others, questions.fars)
    found = [
        _evaluate(model, path, task, store, rivals, missing, questions, pairs)
        for model, path in zip(models, paths)
    ]
    directories = [saved_model.described_in(model.path) for model in models]
    if FLAGS.compare:
        result = writing.Comparison.of(found, paths, directories)
    else:
        audit = report_section.beside(directories[0])
        if audit is None and output is not None:
            audit = report_section.beside(output)
        result = writing.Single(
            found[0], store, directories[0], audit, FLAGS.show_images, FLAGS.projector
        )
    written = writing.write(output, result, FLAGS.plots) if output else []
    if FLAGS.json:
        print(json.dumps(result.values, allow_nan=False))
        return
    print('\n'.join(result.values['about']) + '\n')
    print(evaluation_tables.text(result.values, result.tables))
    if written:
        print(f'\nwritten to {output}: {", ".join(written)}')


def _models(runs):
    """The directories of the models."""
    if FLAGS.compare:
        if len(runs) < 2 or FLAGS.model:
            raise ValueError(
                f'compare: {len(runs)} models; expected at least two directories after'
                ' --compare, and no --model'
            )
        for name in ('show_images', 'projector'):
            if FLAGS[name].value:
                raise ValueError(f'{name}: is for a single model; leave it out with --compare')
        model_flags.check_there(*runs, name='compare')
        for number, path in enumerate(runs):
            if any(os.path.samefile(path, other) for other in runs[:number]):
                raise ValueError(f'compare: {path!r} is named twice; name each once')
        return runs
    if runs:
        raise ValueError(f'unexpected argument {runs[0]!r}; flags start with --')
    if not FLAGS.model:
        raise ValueError('model=None: expected the directory of a run or of a SavedModel')
    model_flags.check_there(FLAGS.model)
    return [FLAGS.model]


def _load(path, store):
    model = model_flags.load(path)
    model_flags.check_for(model, store)
    return model


def _evaluate(model, path, task, store, rivals, missing, questions, pairs):
    from dp_fedemb import progress
    from dp_fedemb.evaluation import division
    from dp_fedemb.evaluation import evaluated
    from dp_fedemb.models import saved_model

    about = _about(task, store, model, path)
    warning = division.warning(
        saved_model.described_in(model.path),
        about['model'],
        task.name,
        FLAGS.part,
        task.stores,
    )
    if warning:
        about.update(warning=warning, about=[*about['about'], warning])
    if missing:
        about['about'].append(f'{missing}.')
    with progress.bar(store.num_examples, 'embedding', 'image') as bar:
        return evaluated.evaluate(model, store, rivals, questions, about, pairs, bar.update)


def _questions():
    from dp_fedemb.evaluation import collection
    from dp_fedemb.evaluation import evaluated
    from dp_fedemb.evaluation import verification

    fars = model_flags.fars()
    verification.check_fars([FLAGS.far])
    if FLAGS.metrics is not None:
        collection.check_metrics(FLAGS.metrics)
    return evaluated.Questions(
        metrics=FLAGS.metrics,
        fars=fars,
        far=FLAGS.far,
        groups=FLAGS.groups,
        pairs_files=FLAGS.pairs_files,
        batch_size=FLAGS.eval_batch_size,
    )


def _about(task, store, model, path):
    # Not its path, which tells of whose computer it is on.
    name = pathlib.Path(path).absolute().name
    return {
        'title': f'Image embeddings on {task.name}',
        'about': [
            f'Model {name}, part {FLAGS.part} of the task: {task.description}.',
            f'{store.num_users:,} users with {store.num_identities:,} identities,'
            f' {store.num_examples:,} images of {store.example_spec}.',
        ],
        'model': name,
        'model_fingerprint': model.fingerprint,
        'task': task.name,
        'part': FLAGS.part,
        'num_users': store.num_users,
        'image_shape': list(store.example_spec.shape),
    }


def _output_directory():
    if FLAGS.output_dir is None:
        if FLAGS.plots:
            raise ValueError('plots: need a directory; give --output_dir as well')
        return None
    pathnames.check_place(output_dir=FLAGS.output_dir)
    groups.check_apart(output_dir=FLAGS.output_dir)
    path = pathlib.Path(FLAGS.output_dir).absolute()
    if (path / 'config.json').exists():
        raise FileExistsError(
            f'output_dir={str(path)!r}: is the directory of a run, which has an'
            f' evaluation.json of its own; choose another, for instance {path / "report"}'
        )
    return path


if __name__ == '__main__':
    program.run(main, positional=100)

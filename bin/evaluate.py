#!/usr/bin/env python3
"""Evaluates a model on identities that training never saw.

    bin/evaluate.py --model=runs/demo --task=synthetic --plots --output_dir=reports/demo

`--model` is a run's directory or a SavedModel. With `--output_dir`, figures go to
evaluation.json; with `--plots`, pictures and a self-contained html_report.html, too.
"""

import json
import pathlib

from absl import flags

from flags import from_settings
from flags import groups
from flags import program

from dp_fedemb import files

FLAGS = flags.FLAGS

groups.define_task()
flags.DEFINE_string('model', None, 'Directory of a run or of a SavedModel.', required=True)
flags.DEFINE_string('part', 'test', 'Of the task: test, validation, train or public.')
flags.DEFINE_list(
    'metrics',
    None,
    'Of verification, retrieval, intervals (95% of recall, by identity), pairs (the'
    " task's own protocol). By default verification, retrieval, and pairs if there are"
    ' any.',
)
flags.DEFINE_list('fars', ['1e-3', '1e-2'], 'False accept rates to state the recall at.')
flags.DEFINE_integer('eval_batch_size', 512, 'Images in the model at once.', 1, 10**6)
flags.DEFINE_bool(
    'other_preprocessing',
    False,
    'Evaluate images that were prepared in another way than those of the training.',
)
flags.DEFINE_string('output_dir', None, 'For evaluation.json, pictures and the report.')
flags.DEFINE_bool('plots', False, 'Draw pictures and write html_report.html.')
flags.DEFINE_bool(
    'show_images',
    False,
    'Put images of the evaluated people into the report, with their nearest neighbours.',
)
flags.DEFINE_bool('json', False, 'Print one JSON object instead of the table.')


def main(_):
    from dp_fedemb import evaluation
    from dp_fedemb.evaluation import collection
    from dp_fedemb.evaluation import verification

    fars = [_number(text) for text in FLAGS.fars]
    verification.check_fars(fars)
    if FLAGS.metrics is not None:
        collection.check_metrics(FLAGS.metrics)
    from_settings.need('show_images', 'plots')
    output = _output_directory()
    groups.check_directory('model')
    task = groups.task()
    store = _part(task)

    from dp_fedemb.models import saved_model

    model = evaluation.load_model(FLAGS.model)
    model.check_examples(store.example_spec)
    if not FLAGS.other_preprocessing:
        saved_model.check_preprocessing(
            model.path,
            store.preprocessing,
            'choose the options of the task, or allow it with --other_preprocessing',
        )
    pairs = task.pairs if FLAGS.part == 'test' else None
    metrics = FLAGS.metrics
    if metrics is None:
        metrics = ['verification', 'retrieval', *([] if pairs is None else ['pairs'])]
    embeddings = _embed(model, store)
    images = evaluation.EmbeddedImages(embeddings, store.identities, fars, pairs)
    # Not its path, which tells of whose computer it is on.
    name = pathlib.Path(FLAGS.model).expanduser().absolute().name
    about = {
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
        'embedding_dim': embeddings.shape[1],
    }
    values = collection.collect(images, metrics, about)
    written = _write(output, values, images, store, model.path) if output else []
    if FLAGS.json:
        print(json.dumps(values))
        return
    print('\n'.join(values['about']) + '\n')
    print(collection.text(values))
    if written:
        print(f'\nwritten to {output}: {", ".join(written)}')


def _number(text):
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'fars={text!r}: expected numbers, as in 1e-3,1e-2') from None


def _output_directory():
    if FLAGS.output_dir is None:
        if FLAGS.plots:
            raise ValueError('plots: need a directory; give --output_dir as well')
        return None
    files.check_place(output_dir=FLAGS.output_dir)
    path = pathlib.Path(FLAGS.output_dir).expanduser().absolute()
    if (path / 'config.json').exists():
        raise FileExistsError(
            f'output_dir={str(path)!r}: is the directory of a run, which has an'
            f' evaluation.json of its own; choose another, for instance {path / "report"}'
        )
    return path


def _part(task):
    if FLAGS.part not in task.stores:
        raise ValueError(f'part={FLAGS.part!r}: task {task.name} has {", ".join(task.stores)}')
    return task.stores[FLAGS.part]


def _embed(model, store):
    from dp_fedemb import evaluation
    from dp_fedemb import progress

    with progress.bar(store.num_examples, 'embedding', 'image') as bar:
        return evaluation.embed(model, store.examples, FLAGS.eval_batch_size, bar.update)


def _write(output, values, images, store, model_path):
    """Makes all files elsewhere and moves them when all are complete."""
    from dp_fedemb import files

    with files.appearing_files(output) as draft:
        if FLAGS.plots:
            _write_report(draft, values, images, store, model_path.parent)
        (draft / 'evaluation.json').write_text(json.dumps(values, indent=2) + '\n')
        return sorted(path.name for path in draft.iterdir())


def _write_report(draft, values, images, store, run):
    from dp_fedemb.auditing import report as audit_report
    from dp_fedemb.evaluation import html_report
    from dp_fedemb.evaluation import plots

    figures = {}
    if (run / 'metrics.csv').exists():
        figures['training'] = plots.training_curves(run / 'metrics.csv')
    figures['roc'] = plots.roc(images.verification)
    figures['similarities'] = plots.similarities(images.verification)
    if FLAGS.show_images:
        figures['neighbours'] = plots.neighbours(
            store.examples, images.embeddings, images.identities
        )
    figures = {name: picture for name, picture in figures.items() if picture is not None}
    plots.save(figures, str(draft))
    statement = text = None
    if (run / 'privacy.json').exists() and (run / 'privacy.txt').exists():
        statement = json.loads((run / 'privacy.json').read_text())
        text = (run / 'privacy.txt').read_text()
    (draft / 'report.html').write_text(
        html_report.build(values, figures, statement, text, audit_report.text_beside(run))
    )


if __name__ == '__main__':
    program.run(main)

#!/usr/bin/env python3
"""Makes one folder of a trained model that can be given away.

    bin/export.py --model=runs/demo
    bin/export.py --model=runs/demo --task=omniglot --data_dir=DATA --formats=onnx,tflite_int8

In it are the model as SavedModel, Keras file, ONNX and TensorFlow Lite (float32, float16 and
8-bit integers), each read again by its own runtime and compared; model_card.md; the privacy
statement; and the figures of the evaluation beside the model (bin/evaluate.py). Seeds,
checkpoints, paths and names of people stay behind.
"""

import os
import pathlib

from absl import flags

from flags import from_settings
from flags import groups
from flags import model_flags
from flags import program
from flags import run_task

from dp_fedemb import known_names
from dp_fedemb import pathnames

FLAGS = flags.FLAGS

groups.define_task()
model_flags.define()
flags.DEFINE_string('output_dir', None, 'Of the folder; MODEL/export by default.')
flags.DEFINE_list(
    'formats',
    None,
    'Of saved_model, keras, onnx, tflite, tflite_float16, tflite_int8; all by default.',
)
flags.DEFINE_enum(
    'part',
    'test',
    ['test', 'validation', 'public'],
    'Of the task, if --task is given: people to compare the formats on. Without --task formats'
    ' are compared on drawn glyphs.',
)
flags.DEFINE_string(
    'public_pictures',
    None,
    'Folder of pictures to measure the ranges of 8-bit integers on, which are in that file'
    ' afterwards: your word that they are public. Drawn glyphs by default.',
)
flags.DEFINE_string(
    'evaluation',
    None,
    'The evaluation.json for the model card, or its directory; beside the model by default.',
)
flags.DEFINE_string('intended_use', None, 'A sentence for the model card.')
model_flags.define_fars(['1e-3', '1e-2'], 'False accept rates to compare formats at.')


def main(_):
    # Before TensorFlow is there, which takes seconds to load.
    model_flags.check_there(FLAGS.model)
    if FLAGS['task'].present:
        run_task.follow([FLAGS.model])
        groups.check_task()
    fars = model_flags.fars()
    groups.check_there('public_pictures', 'evaluation')
    if not FLAGS['task'].present:
        others = (*groups.task_flags(), 'part')
        from_settings.refuse_unused('a comparison on drawn glyphs', *others)
    if FLAGS.formats is not None and 'tflite_int8' not in FLAGS.formats:
        from_settings.refuse_unused(f'formats={",".join(FLAGS.formats)}', 'public_pictures')
    if FLAGS.formats is not None:
        known_names.check_export_formats(FLAGS.formats)
    output = FLAGS.output_dir or os.path.join(FLAGS.model, 'export')
    pathnames.check_place(output_dir=output)
    formats = FLAGS.formats or list(known_names.EXPORT_FORMATS)
    task = groups.task() if FLAGS['task'].present else None
    store = None if task is None else model_flags.part(task)

    from dp_fedemb import export

    model = model_flags.load(FLAGS.model)
    done = export.export(
        model,
        output,
        formats,
        _check_set(model, task, store, fars),
        _calibration(model, formats),
        FLAGS.evaluation,
        FLAGS.intended_use,
        on_format=lambda name: print(f'{name}: written, read and compared', flush=True),
    )
    print(_table(done, fars))
    if done.note:
        print(f'\nnote: the model card has no evaluation: {done.note}')
    print(f'\nfolder: {done.path}\n  begin with model_card.md')


def _check_set(model, task, store, fars):
    from dp_fedemb import export
    from dp_fedemb.export import glyphs

    if task is None:
        images, identities = glyphs.for_check(model.example_spec)
        about = f'{len(images):,} images of {identities.max() + 1:,} drawn glyphs'
        return export.CheckSet(images, identities, about, fars)
    model.check_examples(store.example_spec)
    about = f'{store.num_examples:,} images, part {FLAGS.part} of task {task.name}'
    return export.CheckSet(store.examples, store.identities, about, fars)


def _calibration(model, formats):
    if FLAGS.public_pictures is None or 'tflite_int8' not in formats:
        return None
    import numpy as np

    from dp_fedemb import export
    from dp_fedemb.data.images import listing as listing_lib
    from dp_fedemb.data.images import reading
    from dp_fedemb.models import saved_model

    preprocessing = saved_model.preprocessing_of(model.path, model.example_spec.shape)
    folder = pathlib.Path(FLAGS.public_pictures)
    paths = listing_lib.pictures(folder, 'public_pictures').paths
    # Evenly over the folder, whose order may be by kind.
    chosen = [
        paths[i] for i in np.linspace(0, len(paths) - 1, min(200, len(paths))).astype(int)
    ]
    broken, images = reading.Broken(0), []
    for batch in reading.decoded(chosen, preprocessing):
        for path, image, reason in batch:
            if image is None:
                broken.add(str(path.relative_to(folder)), reason)
            images.append(image)
    about = f"{len(images):,} pictures that are public, on the exporter's word"
    return export.Calibration(np.stack(images), about)


def _table(done, fars):
    from dp_fedemb import tables
    from dp_fedemb.export import card_results

    rows = [('format', 'MB', 'largest difference', *(f'recall@FAR={far:g}' for far in fars))]
    for name, check in done.checks.items():
        recalls = [card_results.figure(value) for value in check.recall.values()]
        difference = f'{check.largest_difference:.1e}'
        rows.append((name, f'{done.sizes[name] / 1e6:.2f}', difference, *recalls))
    return '\n' + tables.text(rows, 'lr')


if __name__ == '__main__':
    program.run(main)

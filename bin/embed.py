#!/usr/bin/env python3
"""Turns images into embeddings.

    bin/embed.py --model=runs/demo --input=FOLDER --output=embeddings.npz
    bin/embed.py --model=runs/demo --task=omniglot --part=test --output=embeddings.npz

Reads every picture in a folder and below, or a part of a task. The file holds
`embeddings` (float32 [n, D], norm 1) and `paths`, or `identities` and `users` (names).
"""

import os
import pathlib
import sys
import tempfile

from absl import flags

from flags import groups
from flags import program

FLAGS = flags.FLAGS

groups.define_task()
flags.DEFINE_string('model', None, 'Directory of a run or of a SavedModel.', required=True)
flags.DEFINE_string('output', None, 'File to write, named NAME.npz.', required=True)
flags.DEFINE_string('input', None, 'Folder of pictures; the part of a task by default.')
flags.DEFINE_string('part', 'test', 'Of the task: test, validation, train or public.')
flags.DEFINE_integer('eval_batch_size', 512, 'Images in the model at once.', lower_bound=1)
flags.DEFINE_integer(
    'max_broken',
    0,
    'Pictures that cannot be read are skipped, up to this many.',
    lower_bound=0,
)
flags.DEFINE_integer(
    'max_pixels',
    300_000_000,
    'Pictures of more pixels count as broken, before they are decoded.',
    lower_bound=1,
)
# These should be what the model was trained with.
flags.DEFINE_string('fit', 'crop', 'How pictures become square: crop, pad or stretch.')
flags.DEFINE_string('resampling', 'bilinear', 'Of pictures: box, bilinear, bicubic or lanczos.')
flags.DEFINE_bool('invert', False, 'Turn dark into bright, for ink on paper.')


def main(_):
    from dp_fedemb import evaluation

    output = pathlib.Path(FLAGS.output).expanduser().absolute()
    if output.suffix != '.npz' or output.is_dir():
        raise ValueError(f'output={FLAGS.output!r}: expected the name of a file, NAME.npz')
    model = evaluation.load_model(FLAGS.model)
    arrays = _of_task(model) if FLAGS.input is None else _of_folder(model)
    _write(output, arrays)
    count, dim = arrays['embeddings'].shape
    print(f'{count:,} embeddings of {dim} numbers: {output}')


def _of_task(model):
    import numpy as np

    from dp_fedemb import evaluation
    from dp_fedemb import progress

    task = groups.task()
    if FLAGS.part not in task.stores:
        raise ValueError(f'part={FLAGS.part!r}: task {task.name} has {", ".join(task.stores)}')
    store = task.stores[FLAGS.part]
    model.check_examples(store.example_spec)
    with progress.bar(store.num_examples, 'embedding', 'image') as bar:
        embeddings = evaluation.embed(model, store.examples, FLAGS.eval_batch_size, bar.update)
    return {
        'embeddings': embeddings,
        'identities': np.array(store.identity_names)[store.identities],
        'users': np.array(store.user_names)[store.users],
    }


def _of_folder(model):
    import numpy as np

    from dp_fedemb import progress
    from dp_fedemb.data.images import listing as listing_lib
    from dp_fedemb.data.images import preprocessing as preprocessing_lib
    from dp_fedemb.evaluation import folder as folder_lib

    shape = model.example_spec.shape
    if not model.example_spec.is_image or shape[0] != shape[1]:
        raise ValueError(
            f'model={str(model.path)!r} takes examples of {model.example_spec}: expected square'
            ' images of one size'
        )
    size, _, channels = shape
    preprocessing = preprocessing_lib.Preprocessing(
        size,
        channels,
        FLAGS.fit,
        FLAGS.resampling,
        FLAGS.invert,
        max_pixels=FLAGS.max_pixels,
    )
    folder = pathlib.Path(FLAGS.input).expanduser()
    listing = listing_lib.pictures(folder, 'input')
    with progress.bar(len(listing.names), 'embedding', 'image') as bar:
        found = folder_lib.embed_folder(
            model,
            listing,
            preprocessing,
            FLAGS.eval_batch_size,
            FLAGS.max_broken,
            bar.update,
        )
    for line in found.notes:
        print(f'note: {line}', file=sys.stderr)
    for line in found.broken:
        print(f'skipped: {line}', file=sys.stderr)
    return {'embeddings': found.embeddings, 'paths': np.array(found.paths)}


def _write(output, arrays):
    """The file appears whole or not at all."""
    import numpy as np

    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.embeddings-', dir=output.parent) as draft:
        path = pathlib.Path(draft, 'embeddings.npz')
        np.savez(path, **arrays)
        os.replace(path, output)


if __name__ == '__main__':
    program.run(main)

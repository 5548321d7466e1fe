"""The ROC curve and the embedding projector, with small images, for TensorBoard.

`tensorboard --logdir=DIRECTORY` shows them. The projector is configured by text files
beside the events (projector_config.pbtxt, tensors and metadata in tab-separated values).
Those show pictures, names and embeddings of people, and are readable by their owner alone.
"""

import io
import pathlib

import numpy as np
from PIL import Image

from dp_fedemb import files
from dp_fedemb.data import store as store_lib
from dp_fedemb.evaluation import evaluated
from dp_fedemb.evaluation import figures
from dp_fedemb.evaluation.figures import drawing

# What the projector draws fluently, and the largest texture that browsers take.
_MOST = 5000
_LARGEST_SPRITE = 8192
_EVENTS = 'events.out.tfevents.report'


def write(
    directory: pathlib.Path, found: evaluated.Evaluated, store: store_lib.UserStore
) -> None:
    """Writes the files.

    Args:
        directory: where.
        found: of the images of the store.
        store: gives the images, which are left out where they are no pictures; of more
            than `_MOST` the first ones of identities drawn at random are shown.
    """
    import tensorflow as tf

    images = found.images
    names = np.random.default_rng(0).permutation(store.num_identities)
    rank = np.argsort(names)[store.identities]
    rows = np.sort(np.argsort(rank, kind='stable')[:_MOST])
    with tf.summary.create_file_writer(str(directory)).as_default(step=0):
        roc = np.asarray(_pixels(drawing.png(figures.roc(images.verification))))
        tf.summary.image('roc', roc[None])
        for point in images.verification.points:
            if point.resolvable:
                tf.summary.scalar(f'recall_at_far/{point.target_far:g}', point.recall)
    # TensorFlow's own name tells of whose computer it came from.
    (events,) = directory.glob('events.out.tfevents.*')
    files.write_bytes(directory / _EVENTS, events.read_bytes())
    events.unlink()
    vectors = '\n'.join('\t'.join(f'{x:.6g}' for x in row) for row in images.embeddings[rows])
    files.write_text(directory / 'tensors.tsv', f'{vectors}\n', 0o600)
    lines = ['identity\tuser']
    for row in rows:
        identity = store.identity_names[store.identities[row]]
        user = store.user_names[store.users[row]]
        lines.append('\t'.join(' '.join(name.split()) for name in (identity, user)))
    files.write_text(directory / 'metadata.tsv', '\n'.join(lines) + '\n', 0o600)
    config = (
        'embeddings {\n  tensor_name: "embeddings"\n  tensor_path: "tensors.tsv"\n'
        '  metadata_path: "metadata.tsv"\n'
    )
    if store.example_spec.is_image:
        with files.appearing_file(directory / 'sprites.png', 0o600) as draft:
            side = sprite(store.examples[rows], draft)
        config += (
            '  sprite {\n    image_path: "sprites.png"\n'
            f'    single_image_dim: {side}\n    single_image_dim: {side}\n  }}\n'
        )
    files.write_text(directory / 'projector_config.pbtxt', f'{config}}}\n')


def sprite(images: np.ndarray, path: pathlib.Path) -> int:
    """Writes a square of small images, row by row, and returns the side of one in pixels.

    Args:
        images: uint8 [n, H, W, 1 or 3].
        path: of the PNG.
    """
    across = int(np.ceil(np.sqrt(len(images))))
    side = max(1, min(64, max(images.shape[1:3]), _LARGEST_SPRITE // across))
    whole = Image.new('RGB', (across * side, across * side), 'white')
    for place, image in enumerate(images):
        small = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        small = small.convert('RGB').resize((side, side), Image.Resampling.BILINEAR)
        whole.paste(small, (place % across * side, place // across * side))
    whole.save(path, 'png')
    return side


def _pixels(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert('RGB')

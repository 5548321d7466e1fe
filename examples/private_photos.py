"""Private training on a folder of photos, from Python: read, fit, embed.

    python examples/private_photos.py PHOTOS OUTPUT

`PHOTOS` holds user/identity/*.jpg; `OUTPUT` becomes the store and the run. Without
arguments it draws photos of 60 users first. `bin/train.py --task=image_folder` does the
same with every option, splits and evaluation.
"""

import pathlib
import sys
import tempfile

import numpy as np
from PIL import Image

import dp_fedemb
from dp_fedemb.data.images import preprocessing
from dp_fedemb.runs import settings

TO_SQUARES = preprocessing.Preprocessing(image_size=32, channels=3)


def read_photos(photos: pathlib.Path, path: pathlib.Path) -> dp_fedemb.UserStore:
    """Packs the photos by user: a folder below `photos` is one privacy unit."""
    with dp_fedemb.UserStoreWriter(path, TO_SQUARES.image_shape) as writer:
        for user in sorted(photos.iterdir()):
            files = sorted(user.glob('*/*.jpg'))
            # Two users' 'cat' are not one cat.
            identities = [f'{user.name}/{file.parent.name}' for file in files]
            writer.add_user(np.stack([*map(TO_SQUARES, files)]), identities, name=user.name)
    return dp_fedemb.UserStore.open(path)


def draw_photos(photos: pathlib.Path) -> pathlib.Path:
    """60 users with two things each, photographed twice: coloured noise, here."""
    generator = np.random.default_rng(0)
    for user in range(60):
        for thing in ('cat', 'dog'):
            folder = photos / f'user{user:02d}' / thing
            folder.mkdir(parents=True)
            pixels = generator.integers(0, 256, (40, 30, 3), np.uint8)
            for number in range(2):
                Image.fromarray(pixels).save(folder / f'{number}.jpg')
    return photos


def main(photos: pathlib.Path, output: pathlib.Path) -> None:
    """Trains with epsilon 8 and compares two photos."""
    store = read_photos(photos, output / 'store')
    private = dp_fedemb.DPFedEmb(
        output / 'run',
        target_epsilon=8,
        rounds=5,  # As many as time allows, and users as many as there are: see privacy.md.
        virtual_clients_per_round=8,
        users_per_virtual_client=4,
        model=settings.ModelSettings(backbone='small_conv', embedding_dim=32),
    )
    private.fit(store)
    print(private.headline)
    embeddings = private.embed(store.examples[:2])
    print(f'similarity of two photos: {embeddings[0] @ embeddings[1]:.3f}')


if __name__ == '__main__':
    if len(sys.argv) == 3:
        main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(draw_photos(pathlib.Path(scratch) / 'photos'), pathlib.Path(scratch))

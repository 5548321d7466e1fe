"""Tiny files in the official format of each data set, made for the tests.

Each maker fills a directory and returns the options with which the task reads it.
"""

import io
import zipfile

import numpy as np
from PIL import Image


def encode(pixels, kind='PNG', **options):
    """An encoded image of uint8 or bool pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def picture(seed, height, width, channels=3):
    """A smooth random picture, uint8."""
    small = np.random.default_rng(seed).integers(0, 256, (3, 3, channels), np.uint8)
    image = Image.fromarray(small if channels == 3 else small[..., 0])
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def omniglot(directory, drawers=2, without=None):
    """All 1,623 characters, for TFDS accepts no fewer, each drawn by `drawers` people.

    Except, with `without`, those that this (alphabet, drawer) drew.
    """
    random = np.random.default_rng(0)
    parts = {'images_background': (30, 964), 'images_evaluation': (20, 659)}
    parts |= {'images_background_small1': (1, 3), 'images_background_small2': (1, 2)}
    label = 0
    for folder, (alphabets, characters) in parts.items():
        number = 1 if 'small' in folder else label + 1
        with zipfile.ZipFile(directory / f'{folder}.zip', 'w') as archive:
            per_alphabet = np.full(alphabets, characters // alphabets)
            per_alphabet[: characters % alphabets] += 1
            for alphabet, count in enumerate(per_alphabet):
                name = f'{folder[7:12] if "small" not in folder else "backg"}{alphabet:02d}'
                for character in range(count):
                    for drawer in range(1, drawers + 1):
                        # White paper, a black blot; 1 bit a pixel.
                        pixels = np.ones((105, 105), bool)
                        x, y = random.integers(10, 80, 2)
                        if (name, drawer) == without:
                            continue
                        pixels[y : y + 15, x : x + 15] = False
                        archive.writestr(
                            f'{folder}/{name}/character{character + 1:02d}/'
                            f'{number:04d}_{drawer:02d}.png',
                            encode(pixels),
                        )
                    number += 1
        if 'small' not in folder:
            label = number - 1
    return {'partial': 'true'}


LETTERS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'


def emnist(directory, writers=12, compressed=False, without=None):
    """TFF's database: both halves of each writer, every class, in four splits."""
    import lzma
    import sqlite3

    import tensorflow as tf

    path = directory / 'emnist_all.sqlite'
    with sqlite3.connect(path) as database:
        database.execute(
            'CREATE TABLE examples (split_name TEXT NOT NULL, client_id TEXT NOT NULL,'
            ' serialized_example_proto BLOB NOT NULL)'
        )
        database.execute(
            'CREATE TABLE client_metadata (client_id TEXT NOT NULL, split_name TEXT NOT'
            ' NULL, num_examples INTEGER NOT NULL)'
        )
        for writer in set(range(writers)) - {without}:
            client = f'f{writer:04d}_{writer % 50:02d}'
            for split, labels in (('all_train', range(62)), ('all_test', range(0, 62, 4))):
                for label in labels:
                    # Paper is 1.0. The writer and the class can be read off the pixels.
                    pixels = np.ones((28, 28), np.float32)
                    pixels[0, 0], pixels[0, 1] = label / 255, writer / 255
                    if split == 'all_test':
                        pixels[0, 2] = 0
                    feature = {
                        'pixels': tf.train.Feature(
                            float_list=tf.train.FloatList(value=pixels.ravel())
                        ),
                        'label': tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                    }
                    proto = tf.train.Example(features=tf.train.Features(feature=feature))
                    database.execute(
                        'INSERT INTO examples VALUES (?, ?, ?)',
                        (split, client, proto.SerializeToString()),
                    )
                database.execute(
                    'INSERT INTO client_metadata VALUES (?, ?, ?)', (client, split, len(labels))
                )
    database.close()
    if compressed:
        (directory / f'{path.name}.lzma').write_bytes(
            lzma.compress(path.read_bytes(), lzma.FORMAT_ALONE)
        )
        path.unlink()
    return {'partial': 'true'}


def digiface(directory, subjects=2, images=3, without=None):
    """All five archives of the 72-image subset, a few subjects and images of each."""
    for first in range(0, 10_000, 2_000):
        name = f'subjects_{first}-{first + 1999}_72_imgs.zip'
        with zipfile.ZipFile(directory / name, 'w') as archive:
            for subject in set(range(first, first + subjects)) - {without}:
                archive.writestr(f'{subject}/', '')
                for image in range(images):
                    pixels = picture([subject, image], 112, 112)
                    archive.writestr(f'{subject}/{image}.png', encode(pixels))
    return {'partial': 'true', 'test_users': '0.4'}


def photo_rows(users=20, classes=10, each=3, without=None, shared=False):
    """Rows (user, image, class): neighbouring users share classes, some a photo too."""
    rows = [
        (f'{user}', f'{user:03x}{number:013x}', f'{(user // 2 + number) % classes}')
        for user in range(users)
        for number in range(each)
    ]
    if shared:
        rows += [(f'{(int(u) + 1) % users}', i, c) for u, i, c in rows if i.endswith('0')]
    return [row for row in rows if row[0] != str(without)]


def _photo(image):
    return encode(picture(int(image, 16) % 2**32, 40, 60), 'JPEG', quality=90)


def landmarks(directory, **changes):
    """The list in its zip, and the photos in two of the tar archives."""
    import tarfile

    rows = photo_rows(**changes)
    lines = ['user_id,image_id,class', *map(','.join, rows)]
    with zipfile.ZipFile(directory / 'landmarks-user-160k.zip', 'w') as archive:
        archive.writestr('landmarks-user-160k/federated_train.csv', '\n'.join(lines) + '\n')
        archive.writestr('landmarks-user-160k/test.csv', 'image_id,class\n')
    for shard in range(2):
        with tarfile.open(directory / f'images_{shard:03d}.tar', 'w') as archive:
            # Photos that the list does not name are in the archives, too.
            for image in [*sorted({row[1] for row in rows})[shard::2], f'{shard}f']:
                _add(archive, f'{image[0]}/{image[1]}/{image[2:3]}/{image}.jpg', _photo(image))
    return {
        'partial': 'true',
        'test_users': '0.3',
        'test_identities': '0.4',
        'image_size': '16',
    }


def inaturalist(directory, **changes):
    """The list with all its splits, and the photos in the packed archive."""
    import tarfile

    rows = photo_rows(**changes)
    lines = ['image_id,class,user_120k,geo_100']
    lines += [f'{image},{label},{user},7' for user, image, label in rows]
    lines += ['ff,3,NA,9']
    (directory / 'iNaturalist_train.csv').write_text('\n'.join(lines) + '\n')
    with tarfile.open(directory / 'train_val_images.tar.gz', 'w:gz') as archive:
        for image, label in {image: label for _, image, label in rows}.items():
            _add(archive, f'train_val_images/Aves/Species {label}/{image}.jpg', _photo(image))
    return {
        'partial': 'true',
        'test_users': '0.3',
        'test_identities': '0.4',
        'image_size': '16',
    }


def _add(archive, name, content):
    import tarfile

    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


LFW_PEOPLE = {'Ann_Ash': 3, 'Bo': 2, 'Cy_de_Coe': 2, 'Di_Dow': 1, 'Ed_Eve': 4, 'Fay_Fox': 1}
LFW_PAIRS = """2\t1
Ann_Ash\t1\t3
Bo\t2\tDi_Dow\t1
Cy_de_Coe\t1\t2
Ann_Ash\t2\tBo\t1
"""


def lfw(directory, without=None):
    """lfw.tgz with people in no order, and pairs.txt with two folds of two pairs."""
    import tarfile

    with tarfile.open(directory / 'lfw.tgz', 'w:gz') as archive:
        for person in sorted(set(LFW_PEOPLE) - {without}, reverse=True):
            for number in range(LFW_PEOPLE[person], 0, -1):
                pixels = picture([len(person), number], 250, 250)
                _add(
                    archive,
                    f'lfw/{person}/{person}_{number:04d}.jpg',
                    encode(pixels, 'JPEG', quality=90),
                )
    (directory / 'pairs.txt').write_text(LFW_PAIRS)
    return {'partial': 'true', 'image_size': '16'}


def image_folder(directory, without=None):
    """Users with several identities, some of them shared; any size, mode and format."""
    kinds = [('png', 'RGB'), ('jpg', 'RGB'), ('png', 'L'), ('png', 'RGBA'), ('gif', 'P')]
    for user in range(12):
        if user == without:
            continue
        for identity in (f'own{user}', f'also own{user}', f'shared{user % 3}'):
            folder = directory / f'user{user}' / identity
            folder.mkdir(parents=True)
            for number in range(2):
                kind, mode = kinds[(user + number) % len(kinds)]
                pixels = picture([user, number, len(identity)], 20 + user, 30)
                Image.fromarray(pixels).convert(mode).save(folder / f'{number}.{kind}')
    (directory / 'user0' / '.thumbnail.png').write_bytes(b'no image')
    (directory / 'README.txt').write_text('no image')
    return {'image_size': '16', 'test_users': '0.3', 'test_identities': '0.4'}


def tfds(directory, without=None):
    """A prepared data set with nested features, made by a builder of its own."""
    import tensorflow_datasets as tfds_lib

    class Paintings(tfds_lib.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds_lib.core.Version('1.0.0')
        name = 'paintings'

        def _info(self):
            features = tfds_lib.features.FeaturesDict(
                {
                    'image': tfds_lib.features.Image(shape=(None, None, 3)),
                    'painter': {'id': np.int64, 'name': tfds_lib.features.Text()},
                    'style': tfds_lib.features.ClassLabel(names=['cubism', 'fauvism', 'pop']),
                }
            )
            return tfds_lib.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {
                'train': self._generate_examples(0, 40),
                'test': self._generate_examples(40, 50),
            }

        def _generate_examples(self, start, stop):
            for number in range(start, stop):
                painter = number % 10
                if painter == without:
                    continue
                yield (
                    number,
                    {
                        'image': picture(number, 20 + painter, 24),
                        'painter': {'id': painter, 'name': f'painter {painter}'},
                        'style': number % 3,
                    },
                )

    Paintings(data_dir=str(directory)).download_and_prepare()
    return {
        'dataset': 'paintings',
        'user': 'painter/name',
        'identity': 'style',
        'image_size': '16',
        'test_users': '0.3',
        'test_identities': '0.5',
    }


def stores(directory):
    """Stores written with the library."""
    from dp_fedemb import data

    for part in ('train', 'test'):
        with data.UserStoreWriter(directory / part, (16, 16, 3)) as writer:
            for user in range(6):
                images = np.stack([picture([user, number], 16, 16) for number in range(3)])
                writer.add_user(images, [f'{part} {user}'] * 3, f'{part} {user}')
    return {}


def synthetic(directory, without=None):
    """Nothing: this task draws its images."""
    del directory, without
    return {
        'num_users': '30',
        'image_size': '12',
        'images_per_identity': '3',
        'identities_per_user': '2',
        'test_identities': '10',
        'public_identities': '5',
    }

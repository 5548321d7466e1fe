"""Users of TFDS examples by feature and by function; images come encoded."""

import io
import os

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from dp_fedemb.data.images import tfds_users


class Visits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Photos of places, with a feature of varying length."""

    VERSION = tfds.core.Version('1.0.0')
    name = 'visits'

    def _info(self):
        features = {
            'photo': {'pixels': tfds.features.Image(shape=(None, None, 3))},
            'place': tfds.features.ClassLabel(names=['harbour', 'tower']),
            'guide': {'name': tfds.features.Text()},
            'tags': tfds.features.Sequence(np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {'train': self._generate_examples(600)}

    def _generate_examples(self, count):
        for number in range(count):
            yield (
                number,
                {
                    'photo': {
                        'pixels': np.full((5, 4 + number % 3, 3), number % 256, np.uint8)
                    },
                    'place': number % 2,
                    'guide': {'name': f'guide {number % 4}'},
                    'tags': list(range(number % 3)),
                },
            )


@pytest.fixture(scope='module')
def builder(tmp_path_factory):
    made = Visits(data_dir=str(tmp_path_factory.mktemp('visits')))
    made.download_and_prepare()
    return made


@pytest.fixture
def rows():
    return [
        {'place': 1, 'guide': {'name': b'Ada'}, 'image': b'0'},
        {'place': 0, 'guide': {'name': b'Bo'}, 'image': b'1'},
    ]


def test_keys(rows, builder):
    features = builder.info.features
    assert [tfds_users.key_function('guide/name')(row) for row in rows] == ['Ada', 'Bo']
    assert [tfds_users.key_function('place')(row) for row in rows] == ['1', '0']
    assert tfds_users.key_function('place', features)(rows[0]) == 'tower'
    assert tfds_users.key_function(lambda row: row['place'] + 5)(rows[0]) == '6'


@pytest.mark.parametrize('key', ['town', 'guide/age', 'place/name'])
def test_unknown_feature(key, builder):
    with pytest.raises(ValueError, match=f'feature {key!r}: the data set has'):
        tfds_users.key_function(key, builder.info.features)


def test_slash_in_the_name_of_a_feature(tmp_path):
    class Dogs(Visits, skip_registration=True):
        name = 'dogs'

        def _info(self):
            features = {
                'image/file': tfds.features.Text(),
                'image/pixels': tfds.features.Image(),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _generate_examples(self, count):
            pixels = np.zeros((4, 4, 3), np.uint8)
            yield 0, {'image/file': 'rex/1.jpg', 'image/pixels': pixels}

    made = Dogs(data_dir=str(tmp_path))
    made.download_and_prepare()
    (row,) = tfds_users.read(made, 'train', 'image/pixels')
    assert isinstance(row['image/pixels'], bytes)
    key = tfds_users.key_function('image/file', made.info.features)
    (example,) = tfds_users.examples([row], key, key, lambda *_: 'train', 'image/pixels')
    assert example.user == 'rex/1.jpg' and example.image == row['image/pixels']


def test_unknown_key_of_an_example(rows):
    with pytest.raises(ValueError, match="feature 'town': the example has guide, image, place"):
        tfds_users.key_function('town')(rows[0])


def test_parts_and_names(rows):
    part = {'Ada': 'train', 'Bo': None}
    made = list(
        tfds_users.examples(rows, 'guide/name', 'place', lambda user, _: part[user], name='row')
    )
    (one,) = made
    assert (one.part, one.user, one.identity, one.image, one.name) == (
        'train',
        'Ada',
        '1',
        b'0',
        'row 0',
    )
    called = tfds_users.examples(
        rows, 'guide/name', 'place', lambda *_: 'test', name=lambda row: str(row['place'])
    )
    assert [example.name for example in called] == ['1', '0']


def test_read_gives_encoded_images_in_order(builder):
    # Tags vary in length, so rows come one by one here.
    read = list(tfds_users.read(builder, 'train', 'photo/pixels'))
    assert len(read) == 600
    for number in (0, 255, 599):
        pixels = np.asarray(Image.open(io.BytesIO(read[number]['photo']['pixels'])))
        assert pixels.shape == (5, 4 + number % 3, 3) and np.all(pixels == number % 256)
        assert read[number]['guide']['name'] == b'guide %d' % (number % 4)


def test_batched_reading_gives_the_same_rows(builder, monkeypatch):
    one_by_one = list(tfds_users.read(builder, 'train', 'photo/pixels'))
    as_dataset = type(builder).as_dataset

    def without_tags(self, **options):
        dataset = as_dataset(self, **options)
        return dataset.map(lambda row: {k: v for k, v in row.items() if k != 'tags'})

    batches = []
    original = tf.data.Dataset.batch
    monkeypatch.setattr(type(builder), 'as_dataset', without_tags)
    monkeypatch.setattr(
        tf.data.Dataset, 'batch', lambda self, n: batches.append(n) or original(self, n)
    )
    batched = list(tfds_users.read(builder, 'train', 'photo/pixels'))
    assert batches and len(batched) == len(one_by_one)
    for got, expected in zip(batched, one_by_one):
        assert got == {key: value for key, value in expected.items() if key != 'tags'}


def test_unknown_split(builder):
    with pytest.raises(ValueError, match='tset'):
        list(tfds_users.read(builder, 'tset', 'photo/pixels'))


class Strange(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Keys of every kind that may name nobody."""

    VERSION = tfds.core.Version('1.0.0')
    name = 'strange'

    def _info(self):
        features = {
            'image': tfds.features.Image(shape=(4, 4, 1)),
            'label': tfds.features.ClassLabel(names=['cat', 'dog']),
            'labels': tfds.features.Sequence(tfds.features.ClassLabel(names=['cat', 'dog'])),
            'text': tfds.features.Text(),
            'number': np.int64,
            'weight': np.float32,
            'vector': tfds.features.Tensor(shape=(3,), dtype=np.int64),
            'one': tfds.features.Tensor(shape=(1,), dtype=np.int64),
            'nested': {'a': np.int64, 'b': np.int64},
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {'train': self._generate_examples()}

    def _generate_examples(self):
        rows = [
            (0, [0], 'ann', 7, 0.5),
            (1, [], '', -1, np.nan),
            (-1, [0, 1], '  ', 8, np.inf),
            (0, [-1], 'Jose\u0301', 0, 1.0),
        ]
        for number, (label, labels, text, count, weight) in enumerate(rows):
            yield (
                number,
                {
                    'image': np.full((4, 4, 1), number, np.uint8),
                    'label': label,
                    'labels': labels,
                    'text': text,
                    'number': count,
                    'weight': weight,
                    'vector': [1, 2, 3],
                    'one': [number],
                    'nested': {'a': 1, 'b': 2},
                },
            )


def test_values_that_name_nobody_are_left_out_by_reason(tmp_path):
    from tasks import tfds as tfds_task

    made = Strange(data_dir=str(tmp_path))
    made.download_and_prepare()
    features = made.info.features
    rows = list(tfds_users.read(made, 'train'))

    def named(key):
        of = tfds_users.key_function(key, features)
        found = []
        for row in rows:
            try:
                found.append(of(row))
            except tfds_users.NoNameError as error:
                found.append((str(error),))
        return found

    assert named('label') == ['cat', 'dog', ('an unknown label',), 'cat']
    assert named('labels') == ['cat', ('no value',), ('several values',), ('an unknown label',)]
    assert named('text') == ['ann', ('an empty text',), ('an empty text',), 'Jos\u00e9']
    assert named('number') == ['7', ('an unknown label',), '8', '0']
    assert named('weight') == ['0.5', ('not a number',), ('not a number',), '1.0']
    assert named('one') == ['0', '1', '2', '3'] and named('nested/b') == ['2'] * 4
    assert named(lambda row: None if row['number'] == 7 else 'x')[:2] == [('no value',), 'x']
    assert named(lambda row: {'a': 1})[0] == ('a dict',)
    for text in (b'nan', 'NULL', '<NA>'):
        assert 'a missing value' in named(lambda row, text=text: text)[0][0]
    assert named(lambda row: b'Nan')[0] == 'Nan'
    for key, words in [
        ('vector', r"'vector': of shape \(3,\)"),
        ('nested', 'nested/a, nested/b'),
    ]:
        with pytest.raises(ValueError, match=words):
            named(key)
    examples = tfds_users.examples(rows, 'label', 'text', lambda *_: 'train', features=features)
    assert [(one.user, one.identity) for one in examples] == [
        ('cat', 'ann'),
        ('cat', 'Jos\u00e9'),
    ]
    keys = {name: tfds_users.key_function(name, features) for name in ('label', 'text')}
    counts, notes = tfds_task._counted(rows, keys)
    assert sum(counts.values()) == 2
    assert notes == (
        '1 images are left out: their label is an unknown label',
        '1 images are left out: their text is an empty text',
    )
    with pytest.raises(ValueError, match='no example names a user.*4 images are left out'):
        tfds_task._counted(rows, {'user': lambda row: tfds_users._name(None)})


@pytest.mark.parametrize('length', [0, 5, 1 << 20, 1 << 62, (1 << 64) - 1])
def test_records_of_no_length(length, tmp_path):
    """TensorFlow ends with a signal at 2**62, if the checksum of the number is right."""
    path = tmp_path / 'records'
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in (b'one', b'another'):
            writer.write(content)
    tfds_users.check_records(path)
    whole = path.read_bytes()
    path.write_bytes(whole + length.to_bytes(8, 'little') + bytes(12))
    with pytest.raises(ValueError, match=f'a record of {length:,} bytes'):
        tfds_users.check_records(path)


def test_pipes_are_no_records(tmp_path):
    os.mkfifo(tmp_path / 'records')
    with pytest.raises(ValueError, match='is no file'):
        tfds_users.check_records(tmp_path / 'records')

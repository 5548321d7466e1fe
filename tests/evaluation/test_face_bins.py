"""insightface's .bin files, in every spelling of the pickle, and hostile ones."""

import io
import os
import pickle

import numpy as np
from PIL import Image
import pytest

from dp_fedemb.evaluation import face_bins


@pytest.fixture(scope='module')
def pictures():
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(24):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).save(buffer, 'JPEG')
        contents.append(buffer.getvalue())
    return contents


SAME = [True, False, False] * 4


def spellings(pictures):
    arrays = [np.frombuffer(content, np.uint8) for content in pictures]
    yield pictures, SAME
    yield arrays, SAME
    yield [array.copy() for array in arrays], np.array(SAME)
    yield tuple(pictures), [np.bool_(value) for value in SAME]
    yield bytearrays(pictures), [int(value) for value in SAME]


def bytearrays(pictures):
    return [bytes(bytearray(content)) for content in pictures]


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_reads_every_spelling(pictures, tmp_path, protocol):
    """Protocol 2 is what Python 2 wrote; there bytes come as text, or as latin1 to encode."""
    path = tmp_path / 'pairs.bin'
    for images, same in spellings(pictures):
        path.write_bytes(pickle.dumps((images, same), protocol))
        found = face_bins.read(path)
        assert list(found.images) == pictures and found.same.tolist() == SAME


def test_reads_what_python_2_wrote(tmp_path):
    """`pickle.dumps((['ab', 'cd'], [True]), 2)` of Python 2.7."""
    path = tmp_path / 'old.bin'
    path.write_bytes(b'\x80\x02]q\x00(U\x02abq\x01U\x02cdq\x02e]q\x03\x88a\x86q\x04.')
    found = face_bins.read(path)
    assert list(found.images) == [b'ab', b'cd'] and found.same.tolist() == [True]
    with pytest.raises(ValueError, match='1 pairs: expected at least 10'):
        found.pairs()


def test_folds_are_consecutive(pictures):
    pairs = face_bins.FaceBin(pictures, np.array(SAME)).pairs()
    assert pairs.first.tolist() == list(range(0, 24, 2))
    assert pairs.second.tolist() == list(range(1, 24, 2))
    assert pairs.fold.tolist() == [0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]


class Call:
    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


@pytest.mark.parametrize(
    'content, words',
    [
        (lambda path: ([Call(os.mkdir, f'{path}/made')], [True]), 'asks for posix.mkdir'),
        (lambda path: ([Call(eval, f'__import__("os").mkdir("{path}/made")')], [True]), 'eval'),
        (lambda _: ([b'a', b'b'], [True], 3), 'expected a pair of lists'),
        (lambda _: ([b'a', b'b', b'c'], [True]), '3 images for 1 pairs'),
        (lambda _: ([b'a', 'text'], [True]), 'not encoded as bytes'),
        (lambda _: ([np.zeros((2, 2), np.uint8), b'a'], [True]), 'no row of bytes'),
        (lambda _: ([np.zeros(2, np.float32), b'a'], [True]), "type 'f4'"),
        (lambda _: ([np.array([print]), b'a'], [True]), 'O8'),
        (lambda _: ([b'a', b'b'], ['yes']), 'no truth value'),
        (lambda _: 7, 'expected a pair of lists'),
    ],
)
def test_refuses_all_else(tmp_path, content, words):
    path = tmp_path / 'bad.bin'
    path.write_bytes(pickle.dumps(content(tmp_path), 4))
    with pytest.raises(ValueError, match='no .bin of insightface') as caught:
        face_bins.read(path)
    assert words in str(caught.value)
    assert not (tmp_path / 'made').exists()


def test_damaged_files(pictures, tmp_path):
    path = tmp_path / 'cut.bin'
    whole = pickle.dumps((pictures, SAME), 4)
    for content in (b'', whole[:100], whole[:-3], b'JPEG', b'\x80\x09.', b'.'):
        path.write_bytes(content)
        with pytest.raises(ValueError, match='no .bin of insightface'):
            face_bins.read(path)
    with pytest.raises(FileNotFoundError):
        face_bins.read(tmp_path / 'nowhere.bin')

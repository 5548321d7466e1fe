"""A file that the system cannot read for a time is whole: nobody calls it damaged."""

import contextlib
import pickle
import resource
import zipfile

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from dp_fedemb.data import store_format
from dp_fedemb.data.images import decoding
from dp_fedemb.data.images import reading
from dp_fedemb.evaluation import face_bins
from dp_fedemb.evaluation import inference
from dp_fedemb.models import graph_ops
from dp_fedemb.models import saved_model
from dp_fedemb.runs import checkpoints
from tasks.shared import tfds_archives


@contextlib.contextmanager
def no_file_handles():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def readers(tmp_path):
    """What is read -> a function that reads it."""
    picture, archive, model = tmp_path / 'a.png', tmp_path / 'a.zip', tmp_path / 'model'
    Image.new('L', (8, 8)).save(picture)
    with zipfile.ZipFile(archive, 'w') as file:
        file.write(picture, 'a.png')
    np.save(tmp_path / 'rows.npy', np.arange(3))
    pair = [[picture.read_bytes()] * 2, [True]]
    (tmp_path / 'pairs.bin').write_bytes(pickle.dumps(pair))
    model.mkdir()
    (model / 'saved_model.pb').write_bytes(b'')
    (model / saved_model.PREPROCESSING).write_text('{}')
    states = checkpoints.Checkpoints(tmp_path / 'checkpoints')
    for done in (1, 2):
        states.save(done, [np.arange(3)], {})
    return {
        'picture': lambda: decoding.decode(picture),
        'pictures': lambda: list(reading.decoded([picture], decoding.decode)),
        'archive': lambda: tfds_archives.check_zip(archive, 'anywhere'),
        'store': lambda: store_format.read_array(tmp_path / 'rows.npy', 'int64'),
        'model': lambda: graph_ops.unsafe(model),
        'checkpoint': states.load,
        'pairs': lambda: face_bins.read(tmp_path / 'pairs.bin'),
    }


def test_no_file_handles(readers):
    for name, read in readers.items():
        before = read()
        with pytest.raises(OSError, match='Too many open files'), no_file_handles():
            raise AssertionError(f'{name}: {read()}')
        # And whole it is.
        assert type(read()) is type(before)


def test_a_model_that_tensorflow_cannot_read_is_whole(readers, tmp_path, monkeypatch):
    """TensorFlow has the system's words alone."""

    def load(path):
        with no_file_handles():
            return tf.io.read_file(f'{path}/saved_model.pb')

    # It opens a device of the system when it begins.
    tf.io.read_file(f'{tmp_path}/model/saved_model.pb')
    monkeypatch.setattr(tf.saved_model, 'load', load)
    monkeypatch.setattr(graph_ops, 'check', lambda *_: None)
    with pytest.raises(tf.errors.OpError, match='Too many open files'):
        inference.load_model(tmp_path / 'model')
    monkeypatch.setattr(tf.saved_model, 'load', lambda path: tf.io.read_file(f'{path}/none'))
    with pytest.raises(ValueError, match='damaged SavedModel'):
        inference.load_model(tmp_path / 'model')

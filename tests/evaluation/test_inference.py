"""Embedding in batches; SavedModels that fit, and those that do not."""

import secrets
import shutil

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import files
from dp_fedemb import host_error
from dp_fedemb import models
from dp_fedemb.evaluation import inference
from dp_fedemb.models import saved_model

SHAPE = (12, 12, 1)


@pytest.fixture(scope='module')
def serving_model():
    tf.keras.utils.set_random_seed(0)
    model = models.build_embedding_model('small_conv', SHAPE, 8)
    return models.ServingModel(model.build_backbone(), SHAPE)


@pytest.fixture(scope='module')
def run_directory(serving_model, tmp_path_factory):
    path = tmp_path_factory.mktemp('run')
    serving_model.save(str(path / 'saved_model'))
    return path


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(0).integers(0, 256, (50, *SHAPE), np.uint8)


def test_batches_equal_one_batch(serving_model, images):
    done = []
    embeddings = inference.embed(serving_model, images, batch_size=16, on_batch=done.append)
    assert embeddings.dtype == np.float32 and embeddings.shape == (50, 8)
    assert done == [16, 16, 16, 2]
    whole = serving_model(images)['embeddings'].numpy()
    np.testing.assert_allclose(embeddings, whole, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_memory_maps_are_read_batch_by_batch(images, tmp_path):
    images.tofile(tmp_path / 'images.bin')
    mapped = np.memmap(tmp_path / 'images.bin', np.uint8, 'r', shape=images.shape)
    sizes = []

    def model(batch):
        sizes.append(len(batch))
        return batch.reshape(len(batch), -1).astype(np.float32)

    embeddings = inference.embed(model, mapped, batch_size=20)
    assert sizes == [20, 20, 10]
    flat = images.reshape(50, -1).astype(np.float64)
    expected = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    np.testing.assert_allclose(embeddings, expected, atol=1e-6)


def test_zero_stays_zero_and_not_finite_is_refused(images):
    zero = inference.embed(lambda batch: np.zeros((len(batch), 3)), images)
    assert not zero.any()

    def diverged(batch):
        return np.where(batch.reshape(len(batch), -1)[:, :3] == batch[3, 0, 0], np.nan, 1.0)

    with pytest.raises(ValueError, match=r'embedding of example \d+ is not finite'):
        inference.embed(diverged, images)


@pytest.mark.parametrize('wrong', [np.zeros((0, *SHAPE), np.uint8), np.zeros((3, *SHAPE))])
def test_wrong_images(serving_model, wrong):
    with pytest.raises(ValueError, match=r'expected (at least one|uint8\[n, 12, 12, 1\])'):
        inference.embed(serving_model, wrong)


def test_saved_model_equals_its_source(serving_model, run_directory, images):
    expected = inference.embed(serving_model, images)
    for directory in (run_directory, run_directory / 'saved_model'):
        model = inference.load_model(directory, SHAPE)
        assert model.example_spec.shape == SHAPE
        np.testing.assert_allclose(inference.embed(model, images), expected, atol=1e-6)


def publish(saved, path):
    """Puts a model at a path that differs from all before it, as a run does."""
    with files.appearing_directory(path, replace=True) as draft:
        shutil.copytree(saved, draft, dirs_exist_ok=True)
        (draft / 'preprocessing.json').write_text(secrets.token_hex())


@pytest.mark.parametrize('gone', [False, True])
def test_a_model_that_is_replaced_while_it_is_read_is_never_half_of_each(
    run_directory, tmp_path, monkeypatch, gone
):
    saved, path, load = run_directory / 'saved_model', tmp_path / 'model', tf.saved_model.load
    publish(saved, path)
    replacements = []

    def read(found):
        loaded = None if gone and replacements else load(found)
        if replacements:
            publish(saved, path)
            replacements.pop()
            if gone:
                raise tf.errors.NotFoundError(None, None, 'no such file')
        return loaded

    monkeypatch.setattr(tf.saved_model, 'load', read)
    replacements += [1, 2]
    assert inference.load_model(path).fingerprint == saved_model.fingerprint(path)
    assert not replacements
    replacements += range(100)
    with pytest.raises(host_error.HostError, match='was replaced while it was read'):
        inference.load_model(path)


def test_a_loaded_model_keeps_its_name_when_another_one_is_published(run_directory, tmp_path):
    path = tmp_path / 'model'
    publish(run_directory / 'saved_model', path)
    model = inference.load_model(path)
    known = model.fingerprint
    model.check_unchanged()
    publish(run_directory / 'saved_model', path)
    assert model.fingerprint == known != saved_model.fingerprint(path)
    with pytest.raises(host_error.HostError, match='same command again'):
        model.check_unchanged()


def test_other_image_shape_names_both(run_directory):
    with pytest.raises(ValueError, match='takes examples of 12x12x1, the data are of 28x28x3'):
        inference.load_model(run_directory, (28, 28, 3))


def test_no_saved_model(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such directory'):
        inference.load_model(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match='no SavedModel here'):
        inference.load_model(tmp_path)


def test_damaged_saved_model(tmp_path):
    (tmp_path / 'saved_model.pb').write_bytes(b'\xff' * 100)
    with pytest.raises(ValueError, match='damaged SavedModel'):
        inference.load_model(tmp_path)


def test_other_signature(tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec([None, None], tf.float32, name='x')
    module.f = tf.function(lambda x: {'embeddings': x}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path), signatures=module.f)
    with pytest.raises(ValueError, match=r'x float32\(None, None\) in, .*expected examples'):
        inference.load_model(tmp_path)

"""What every backbone must do; published weight counts."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import models
from dp_fedemb.learning import client_config
from dp_fedemb.learning import local_fine_tuning
from dp_fedemb.models import validator

# The smallest images with the networks' full start.
SHAPE = (64, 64, 3)
DIM = 8
NAMES = sorted(models.BACKBONES)


@pytest.fixture(scope='module')
def built():
    """One eager model of each backbone."""
    tf.keras.utils.set_random_seed(0)
    return {name: models.BACKBONES[name](SHAPE, DIM) for name in NAMES}


def trunk_weights(model):
    return model.count_params() - model.get_layer('embeddings').count_params()


@pytest.mark.parametrize('name', NAMES)
def test_contract(built, name):
    model = built[name]
    assert model.name == name
    assert model.input_shape == (None, *SHAPE) and model.output_shape == (None, DIM)
    assert validator.unfit_layers(model) == {}
    assert not model.non_trainable_variables and not model.losses
    layers = [layer.name for layer in validator.leaf_layers(model) if layer.weights]
    assert len(set(layers)) == len(layers)
    embeddings = model(np.random.default_rng(0).random((3, *SHAPE), np.float32))
    assert np.isfinite(embeddings).all() and np.std(embeddings, axis=0).min() > 0


# Trainable weights without the classifier. torchvision: ResNet-18 11,689,512, ResNet-50
# 25,557,032, MobileNetV2 3,504,872, classifiers 513,000, 2,049,000 and 1,281,000. GroupNorm
# has as many trained weights as BatchNorm: a scale and an offset per channel.
@pytest.mark.parametrize(
    'name, published',
    [
        ('resnet18', 11_689_512 - 513_000),
        ('resnet50', 25_557_032 - 2_049_000),
        ('mobilenet_v2', 3_504_872 - 1_281_000),
    ],
)
def test_published_weight_counts(built, name, published):
    assert trunk_weights(built[name]) == published


def test_mobilenet_v2_layer_by_layer(built):
    """Sandler et al., table 2, summed block by block."""
    total, channels = 9 * 3 * 32 + 2 * 32, 32
    for expansion, filters, blocks in (
        (1, 16, 1),
        (6, 24, 2),
        (6, 32, 3),
        (6, 64, 4),
        (6, 96, 3),
        (6, 160, 3),
        (6, 320, 1),
    ):
        for _ in range(blocks):
            wide = expansion * channels
            if expansion > 1:
                total += channels * wide + 2 * wide
            total += 9 * wide + 2 * wide + wide * filters + 2 * filters
            channels = filters
    total += channels * 1280 + 2 * 1280
    assert trunk_weights(built['mobilenet_v2']) == total


def test_lenet_and_small_conv_by_formula():
    lenet = models.build_embedding_model('lenet', (28, 28, 1), 128).weight_counts()
    assert lenet.total == (25 * 32 + 32) + (25 * 32 * 64 + 64) + (7 * 7 * 64 * 128 + 128)
    small = models.build_embedding_model('small_conv', (28, 28, 1), 24).weight_counts()
    norms = 2 * (16 + 32 + 32)
    convolutions = (9 * 16 + 16) + (9 * 16 * 32 + 32) + (9 * 32 * 32 + 32)
    assert small.total == convolutions + norms + 4 * 4 * 32 * 24 + 24


@pytest.mark.parametrize('name, side, last', [('resnet18', 28, 4), ('mobilenet_v2', 28, 4)])
def test_small_images_keep_some_pixels(name, side, last):
    model = models.BACKBONES[name]((side, side, 1), DIM)
    assert model.get_layer('avg_pool').input_shape[1:3] == (last, last)


def test_large_images_are_divided_by_32(built):
    for name in ('resnet18', 'resnet50', 'mobilenet_v2'):
        assert built[name].get_layer('avg_pool').input_shape[1:3] == (2, 2)


def test_mobilenet_v2_narrower():
    model = models.BACKBONES['mobilenet_v2']((28, 28, 1), DIM, alpha=0.35)
    norms = sum(
        layer.count_params()
        for layer in model.layers
        if isinstance(layer, tf.keras.layers.GroupNormalization)
    )
    # Keras's MobileNetV2(alpha=0.35, include_top=False): 410,208 weights with moving
    # statistics, of which there are as many as scales and offsets, and for RGB.
    assert trunk_weights(model) + norms + 2 * 9 * 16 == 410_208


@pytest.mark.parametrize('name', NAMES)
def test_one_local_step(built, name):
    """All weights move, by finite amounts."""
    model = models.EmbeddingModel(lambda: built[name], SHAPE, DIM, models.build_head('linear'))
    start = [weight.numpy() for weight in built[name].trainable_variables]
    client = {
        'examples': np.random.default_rng(1).integers(0, 255, (4, *SHAPE), np.uint8),
        'labels': np.array([0, 1, 1, 2], np.int32),
        'seed': np.array([3, 4], np.int64),
    }
    fine_tuning = local_fine_tuning.LocalFineTuning(
        model, client_config.ClientConfig(learning_rate=0.01)
    )
    delta, loss = fine_tuning.update(start, client, tf.constant(0.01))
    for weight, value in zip(built[name].trainable_variables, start):
        weight.assign(value)
    assert np.isfinite(loss) and loss > 0
    assert all(np.isfinite(part).all() for part in delta)
    still = [w.name for w, part in zip(built[name].weights, delta) if not np.any(part)]
    assert not still


_LOADER = """
import sys
import numpy as np
import tensorflow as tf
assert 'dp_fedemb' not in sys.modules and not any('dp_fedemb' in path for path in sys.path)
for directory in sys.argv[2:]:
    embed = tf.saved_model.load(directory).signatures['serving_default']
    images = np.load(sys.argv[1])
    np.save(directory + '/found.npy', embed(images=tf.constant(images))['embeddings'].numpy())
"""


def test_exports_work_without_this_package(built, tmp_path):
    images = np.random.default_rng(2).integers(0, 255, (3, *SHAPE), np.uint8)
    np.save(tmp_path / 'images.npy', images)
    expected = {}
    for name in NAMES:
        serving = models.ServingModel(built[name], SHAPE)
        serving.save(str(tmp_path / name))
        raw = built[name](images.astype(np.float32) / 255).numpy()
        expected[name] = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    directories = [str(tmp_path / name) for name in NAMES]
    command = [sys.executable, '-I', '-c', _LOADER, str(tmp_path / 'images.npy'), *directories]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    for name in NAMES:
        found = np.load(tmp_path / name / 'found.npy')
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[name], atol=2e-5)


def test_same_architecture_twice():
    def shapes():
        model = models.BACKBONES['small_conv']((16, 16, 1), DIM)
        return [(weight.name, tuple(weight.shape)) for weight in model.weights]

    assert shapes() == shapes()


def test_unknown_backbone_lists_the_known():
    with pytest.raises(ValueError, match="backbone='vgg': expected one of lenet, mobilenet_v2"):
        models.build_embedding_model('vgg', (28, 28, 1))

"""Initial weights follow from the seed alone and leave the process as it was."""

import random

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import models


@pytest.fixture(scope='module')
def model():
    return models.build_embedding_model('small_conv', (12, 12, 1), embedding_dim=8)


def equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_same_seed_same_weights(model):
    first, _ = model.initial_weights(2**100 + 1)
    random.random(), np.random.rand(), tf.keras.initializers.GlorotUniform()([2])
    again, _ = model.initial_weights(2**100 + 1)
    other, _ = model.initial_weights(2**100 + 2)
    assert equal(first, again)
    assert not np.array_equal(first[0], other[0])


def test_order_and_spread_are_the_models(model):
    trainable, non_trainable = model.initial_weights(0)
    backbone = model.build_backbone()
    assert [w.shape for w in trainable] == [w.shape for w in backbone.trainable_variables]
    assert non_trainable == []
    kernel = trainable[-2]
    limit = np.sqrt(6 / sum(kernel.shape))  # Glorot uniform, Keras's default.
    assert 0.9 * limit < np.abs(kernel).max() <= limit


def test_global_generators_are_left_alone(model):
    draws = []
    for call in (lambda: None, lambda: model.initial_weights(5)):
        tf.keras.utils.set_random_seed(1)
        call()
        draws.append(
            (
                random.random(),
                np.random.rand(),
                float(tf.random.uniform([])),
                float(tf.keras.initializers.RandomNormal()([])),
            )
        )
    assert draws[0] == draws[1]


def test_users_initializers_that_use_numpy_are_seeded():
    def build():
        images = tf.keras.Input((4, 4, 1))
        start = tf.constant_initializer(np.random.rand(16, 3))
        dense = tf.keras.layers.Dense(3, kernel_initializer=start)
        return tf.keras.Model(images, dense(tf.keras.layers.Flatten()(images)))

    model = models.EmbeddingModel(build, (4, 4, 1), 3, models.HEADS['linear']())
    assert equal(model.initial_weights(1)[0], model.initial_weights(1)[0])


def test_errors_come_back_to_the_caller(model):
    with pytest.raises(ValueError, match='seed=-1'):
        model.initial_weights(-1)

    def broken():
        raise RuntimeError('no such layer')

    with pytest.raises(RuntimeError, match='no such layer'):
        models.EmbeddingModel(broken, (4, 4, 1), 3, models.HEADS['linear']()).initial_weights(0)

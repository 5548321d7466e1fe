"""GroupNorm equals Keras's, forward and backward, and computes in float32."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import models


def layer_pair(channels, groups, seed=0):
    """Ours and Keras's layer with the same random scale and offset."""
    generator = np.random.default_rng(seed)
    weights = [generator.normal(size=channels), generator.normal(size=channels)]
    pair = []
    for kind in (models.GroupNorm, tf.keras.layers.GroupNormalization):
        layer = kind(groups=groups, epsilon=1e-3)
        layer.build((None, 5, 3, channels))
        layer.set_weights(weights)
        pair.append(layer)
    return pair


def value_and_gradients(layer, inputs, outer, **options):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, **options)
        loss = tf.reduce_sum(outputs * outer)
    return [outputs, *tape.gradient(loss, [inputs, *layer.trainable_variables])]


@pytest.mark.parametrize('groups', [1, 4, 8])
@pytest.mark.parametrize('training', [True, False])
def test_as_keras(groups, training):
    generator = np.random.default_rng(1)
    inputs = tf.constant(3 + 2 * generator.normal(size=(2, 5, 3, 8)), tf.float32)
    outer = tf.constant(generator.normal(size=(2, 5, 3, 8)), tf.float32)
    ours, keras = layer_pair(8, groups)
    found = value_and_gradients(ours, inputs, outer, training=training)
    for value, wanted in zip(found, value_and_gradients(keras, inputs, outer)):
        np.testing.assert_allclose(value, wanted, atol=1e-4)


def test_one_image_does_not_touch_another():
    ours, _ = layer_pair(8, 2)
    images = np.random.default_rng(2).normal(size=(3, 5, 3, 8)).astype(np.float32)
    alone = ours(images[:1])
    images[1:] *= 100
    np.testing.assert_array_equal(ours(images)[:1], alone)


def test_float32_inside_bfloat16():
    """The mean of many bfloat16 values near 300 would be off by 1 or more."""
    policy = tf.keras.mixed_precision.Policy('mixed_bfloat16')
    ours = models.GroupNorm(groups=1, dtype=policy)
    generator = np.random.default_rng(3)
    images = tf.cast(300 + 4 * generator.normal(size=(1, 64, 64, 4)), tf.bfloat16)
    normalised = ours(images)
    assert normalised.dtype == tf.bfloat16 and ours.gamma.dtype == tf.float32
    exact = tf.cast(images, tf.float32)
    exact = (exact - tf.reduce_mean(exact)) / tf.math.reduce_std(exact)
    np.testing.assert_allclose(tf.cast(normalised, tf.float32), exact, atol=0.02)


def test_survives_keras_config():
    ours = models.GroupNorm(groups=4, epsilon=1e-5, name='norm')
    again = tf.keras.layers.deserialize(tf.keras.layers.serialize(ours))
    assert isinstance(again, models.GroupNorm) and again.get_config() == ours.get_config()

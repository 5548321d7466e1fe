"""The embedding model and what it releases."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import models
from dp_fedemb.learning import client_config
from dp_fedemb.learning import local_fine_tuning

SHAPE, DIM = (8, 8, 1), 4


def images(count=3):
    return np.random.default_rng(0).integers(0, 255, (count, *SHAPE), np.uint8)


def one_layer(regularizer=None):
    """A backbone of one dense layer."""
    inputs = tf.keras.Input(SHAPE)
    dense = tf.keras.layers.Dense(DIM, kernel_regularizer=regularizer, name='embeddings')
    return tf.keras.Model(inputs, dense(tf.keras.layers.Flatten()(inputs)), name='one_layer')


def test_serving_is_the_backbone_scaled_to_unit_norm():
    model = models.build_embedding_model('small_conv', SHAPE, DIM)
    backbone = model.build_backbone()
    serving = models.ServingModel(backbone, SHAPE)
    raw = backbone(images().astype(np.float32) / 255).numpy()
    found = serving(tf.constant(images()))['embeddings']
    assert found.dtype == tf.float32
    np.testing.assert_allclose(
        found, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5
    )


def test_serving_follows_its_weights_and_outlives_graphs(tmp_path):
    """TFF builds models in graphs, after which Keras refuses the eager ones."""
    backbone = one_layer()
    serving = models.ServingModel(backbone, SHAPE)
    before = serving(tf.constant(images()))['embeddings'].numpy()
    with tf.Graph().as_default():
        one_layer()
    for variable in backbone.variables:
        variable.assign(-1 - variable)
    after = serving(tf.constant(images()))['embeddings'].numpy()
    assert np.abs(after - before).max() > 0.1
    serving.save(str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded(tf.constant(images()))['embeddings'], after, atol=1e-6)


def test_a_loaded_model_can_be_trained_further(tmp_path):
    model = models.build_embedding_model('small_conv', SHAPE, DIM)
    models.ServingModel(model.build_backbone(), SHAPE).save(str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert len(loaded.weights) == len(model.initial_weights(0)[0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(loaded(tf.constant(images()))['embeddings'][:, 0])
    gradients = tape.gradient(loss, list(loaded.weights))
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def update(regularizer):
    model = models.EmbeddingModel(
        lambda: one_layer(regularizer), SHAPE, DIM, models.build_head('linear')
    )
    fine_tuning = local_fine_tuning.LocalFineTuning(model, client_config.ClientConfig())
    kernel = np.full((64, DIM), 0.1, np.float32)
    client = {
        'examples': images(2),
        'labels': np.array([0, 1], np.int32),
        'seed': np.array([1, 2], np.int64),
    }
    delta, _ = fine_tuning.update([kernel, np.zeros(DIM, np.float32)], client, tf.constant(0.5))
    return delta[0].numpy(), kernel


def test_kernel_regularisers_are_honoured():
    plain, kernel = update(None)
    decayed, _ = update(tf.keras.regularizers.L2(0.01))
    # One step of rate 0.5 on 0.01 |w|^2 takes 0.5 * 2 * 0.01 w off.
    np.testing.assert_allclose(decayed - plain, 0.01 * kernel, rtol=1e-3)


def test_impossible_sizes():
    with pytest.raises(ValueError, match='embedding_dim=0'):
        models.build_embedding_model('lenet', SHAPE, 0)

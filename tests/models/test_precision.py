"""bfloat16 is for local steps only: weights, updates and serving stay float32."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import models
from dp_fedemb.learning import client_config
from dp_fedemb.learning import local_fine_tuning

SHAPE = (12, 12, 1)


@pytest.fixture(scope='module')
def pair():
    """The same model in both precisions."""
    return {
        precision: models.build_embedding_model('small_conv', SHAPE, 8, precision=precision)
        for precision in models.PRECISIONS
    }


def test_local_backbone_computes_in_bfloat16_on_float32_weights(pair):
    local, serving = (
        build()
        for build in (pair['bfloat16'].build_local_backbone, pair['bfloat16'].build_backbone)
    )
    assert local.compute_dtype == 'bfloat16' and serving.compute_dtype == 'float32'
    assert local(np.zeros((1, *SHAPE), np.float32)).dtype == tf.bfloat16
    for one, other in zip(local.weights, serving.weights, strict=True):
        assert (one.name, one.shape, one.dtype) == (other.name, other.shape, tf.float32)
    assert tf.keras.mixed_precision.global_policy().name == 'float32'


def test_float32_model_has_one_precision(pair):
    assert pair['float32'].build_local_backbone().compute_dtype == 'float32'


@pytest.mark.parametrize('momentum', [0.0, 0.9])
def test_update_is_float32_and_near_the_exact_one(pair, momentum):
    start, _ = pair['float32'].initial_weights(0)
    client = {
        'examples': np.random.default_rng(0).integers(0, 255, (16, *SHAPE), np.uint8),
        'labels': np.arange(16, dtype=np.int32) % 4,
        'seed': np.array([3, 4], np.int64),
    }
    updates = {}
    for precision, model in pair.items():
        config = client_config.ClientConfig(batch_size=8, momentum=momentum)
        fine_tuning = local_fine_tuning.LocalFineTuning(model, config)
        delta, loss = fine_tuning.update(start, client, tf.constant(0.01))
        assert loss.dtype == tf.float32 and all(part.dtype == tf.float32 for part in delta)
        updates[precision] = np.concatenate([part.numpy().ravel() for part in delta])
    exact, rounded = updates['float32'], updates['bfloat16']
    error = np.linalg.norm(exact - rounded) / np.linalg.norm(exact)
    # Eight bits of mantissa, over a few layers: really rounded, and the same direction.
    # (LeNet, which has no norm, differs by a tenth as well.)
    assert 1e-3 < error < 0.25


def test_policy_is_put_back_after_an_error():
    def broken():
        raise RuntimeError('no such layer')

    head = models.build_head('linear')
    model = models.EmbeddingModel(broken, SHAPE, 8, head, precision='bfloat16')
    with pytest.raises(RuntimeError, match='no such layer'):
        model.build_local_backbone()
    assert tf.keras.mixed_precision.global_policy().name == 'float32'


@pytest.mark.parametrize('backbone', ['mobilenet_v2', 'resnet18'])
def test_every_kind_of_layer_has_a_bfloat16_gradient(backbone):
    model = models.build_embedding_model(backbone, (16, 16, 1), 8, precision='bfloat16')
    local = model.build_local_backbone()
    images = np.random.default_rng(0).random((2, 16, 16, 1), np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(tf.cast(local(images, training=True), tf.float32)))
    gradients = tape.gradient(loss, local.trainable_variables)
    assert all(np.isfinite(gradient).all() and np.any(gradient) for gradient in gradients)


def test_unknown_precision():
    with pytest.raises(
        ValueError, match="precision='float16': expected one of float32, bfloat16"
    ):
        models.build_embedding_model('lenet', (28, 28, 1), precision='float16')

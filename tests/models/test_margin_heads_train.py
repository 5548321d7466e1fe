"""Heads over 32 fresh identities: the loss falls and the embeddings stay apart."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import models
from dp_fedemb.data import synthetic
from dp_fedemb.learning import client_config
from dp_fedemb.learning import local_fine_tuning

SHAPE, IDENTITIES, IMAGES = (28, 28, 1), 32, 10


@pytest.fixture(scope='module')
def client():
    part = synthetic.Part('margin', IDENTITIES, images_per_identity=IMAGES)
    images = np.concatenate(list(synthetic.draw(part, seed=0)))
    return {
        'examples': images.reshape(-1, *SHAPE),
        'labels': np.repeat(np.arange(IDENTITIES, dtype=np.int32), IMAGES),
        'seed': np.array([5, 6], np.int64),
    }


def fine_tune(client, head, epochs):
    """Returns the mean loss and the mean cosine of images of different identities."""
    model = models.EmbeddingModel(
        lambda: models.BACKBONES['small_conv'](SHAPE, 64), SHAPE, 64, head
    )
    config = client_config.ClientConfig(head_lr_scale=10.0, local_epochs=epochs)
    fine_tuning = local_fine_tuning.LocalFineTuning(model, config)
    start, _ = model.initial_weights(0)
    spec = local_fine_tuning.virtual_client_spec(SHAPE)
    weights_spec = [tf.TensorSpec(weight.shape) for weight in start]
    update = tf.function(
        fine_tuning.update, input_signature=[weights_spec, dict(spec), tf.TensorSpec([])]
    )
    _, loss = update(start, client, tf.constant(0.1))
    embeddings = fine_tuning.backbone(client['examples'].astype(np.float32) / 255).numpy()
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = client['labels']
    return float(loss), (embeddings @ embeddings.T)[labels[:, None] != labels].mean()


@pytest.mark.parametrize('name', ['normalized', 'cosface', 'arcface'])
def test_default_head_trains_without_collapsing(name, client):
    head = models.build_head(name)
    first, _ = fine_tune(client, head, epochs=1)
    loss, cosine = fine_tune(client, head, epochs=6)
    assert loss < 0.75 * first
    assert cosine < 0.3


def test_scale_and_margin_of_whole_data_sets_collapse(client):
    """Why the defaults are not the literature's; and that the test above can fail."""
    _, cosine = fine_tune(client, models.build_head('arcface', 64.0, 0.5), epochs=1)
    assert cosine > 0.9

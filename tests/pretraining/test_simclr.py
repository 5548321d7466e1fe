"""SimCLR: the loss by its formula, and embeddings learned without identities."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import data
from dp_fedemb import models
from dp_fedemb.data import synthetic
from dp_fedemb.learning import augmentation_config
from dp_fedemb.models import weight_values
from dp_fedemb.pretraining import settings
from dp_fedemb.pretraining import simclr

SIZE = 16
CONFIG = settings.TrainingConfig(
    epochs=12,
    batch_size=64,
    learning_rate=0.003,
    optimizer='adam',
    augmentation=augmentation_config.parse('glyph'),
)


def by_the_formula(first, second, temperature):
    """Equation 1 of Chen et al. (2020), as printed: views 2k-1 and 2k are a pair."""
    views = np.stack([first, second], axis=1).reshape(-1, first.shape[1])

    def similarity(i, j):
        norms = np.linalg.norm(views[i]) * np.linalg.norm(views[j])
        return views[i] @ views[j] / norms

    def pair(i, j):
        others = sum(
            np.exp(similarity(i, k) / temperature) for k in range(len(views)) if k != i
        )
        return -np.log(np.exp(similarity(i, j) / temperature) / others)

    count = len(first)
    return sum(pair(2 * k, 2 * k + 1) + pair(2 * k + 1, 2 * k) for k in range(count)) / (
        2 * count
    )


@pytest.mark.parametrize('temperature', [0.1, 0.5, 2.0])
def test_nt_xent_is_the_formula(temperature):
    first, second = np.random.default_rng(0).normal(size=(2, 5, 7))
    loss = simclr.nt_xent(tf.constant(first), tf.constant(second), temperature)
    assert float(loss) == pytest.approx(by_the_formula(first, second, temperature), rel=1e-6)


def test_nt_xent_is_least_where_views_agree():
    views = tf.eye(4)
    apart = tf.roll(views, 1, axis=0)
    assert float(simclr.nt_xent(views, views, 0.1)) < 0.01
    assert float(simclr.nt_xent(views, apart, 0.1)) > 5


def small_model(**options):
    return models.build_embedding_model('small_conv', (SIZE, SIZE, 1), 16, **options)


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    # Every image an identity of its own: there is nothing to learn from labels.
    part = synthetic.Part('public', 512, images_per_identity=1, image_size=SIZE)
    path = tmp_path_factory.mktemp('stores') / 'public'
    with data.UserStoreWriter(path, (SIZE, SIZE, 1)) as writer:
        synthetic.write(part, 0, writer)
    return data.UserStore.open(path)


def share_of_nearest_right(weights):
    """Share of unseen drawings whose nearest other drawing is of the same identity."""
    part = synthetic.Part('test', 60, images_per_identity=6, image_size=SIZE)
    images = np.concatenate(list(synthetic.draw(part, 0))).reshape(-1, SIZE, SIZE, 1)
    identity = np.repeat(np.arange(60), 6)
    backbone = small_model().build_backbone()
    weight_values.assign(backbone, *weights)
    embeddings = tf.math.l2_normalize(backbone(np.float32(images) / 255), -1).numpy()
    scores = embeddings @ embeddings.T
    np.fill_diagonal(scores, -2)
    return np.mean(identity[scores.argmax(axis=1)] == identity)


def test_learns_without_identities(store):
    weights, history = simclr.train(small_model(), store, CONFIG, seed=1, temperature=0.2)
    assert history[-1]['loss'] < 0.75 * history[0]['loss']
    before = share_of_nearest_right(small_model().initial_weights(1))
    after = share_of_nearest_right(weights)
    assert after > before + 0.1, (before, after)


def test_same_seed_same_weights_and_frozen_layers_stay(store):
    config = dataclasses.replace(CONFIG, epochs=0.5)
    model = small_model(freeze='conv1')
    start = model.initial_weights(2)
    (first, frozen), _ = simclr.train(model, store, config, seed=2)
    (again, _), _ = simclr.train(model, store, config, seed=2)
    for a, b in zip(first, again):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_array_equal(frozen[0], start[1][0])
    assert any(np.any(a != b) for a, b in zip(first, start[0]))


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'augmentation': augmentation_config.Augmentation()}, "augmentation='none'"),
        ({'batch_size': 1024}, 'batch_size=1024: expected 2 to 512'),
        ({'batch_size': 1}, 'batch_size=1'),
    ],
)
def test_refusals(store, changes, words):
    with pytest.raises(ValueError, match=words):
        simclr.train(small_model(), store, dataclasses.replace(CONFIG, **changes))


def test_refuses_an_impossible_temperature(store):
    with pytest.raises(ValueError, match='temperature=0'):
        simclr.train(small_model(), store, CONFIG, temperature=0)

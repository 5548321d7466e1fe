"""Centralised training: it learns identities it never saw, and repeats itself."""

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
from dp_fedemb.pretraining import supervised
from dp_fedemb.pretraining import training_loop

SIZE = 16
CONFIG = settings.TrainingConfig(epochs=8, batch_size=32, learning_rate=0.05)


def small_model(**options):
    options = {'backbone': 'small_conv', 'embedding_dim': 16, **options}
    return models.build_embedding_model(example_spec=(SIZE, SIZE, 1), **options)


def drawn_store(directory, name, num_users):
    part = synthetic.Part(
        name,
        num_users,
        images_per_identity=8,
        image_size=SIZE,
        style=dataclasses.replace(synthetic.STYLES['print'], rotation=0.2, shift=0.05),
    )
    with data.UserStoreWriter(directory / name, (SIZE, SIZE, 1)) as writer:
        synthetic.write(part, 0, writer)
    return data.UserStore.open(directory / name)


@pytest.fixture(scope='module')
def train_store(tmp_path_factory):
    return drawn_store(tmp_path_factory.mktemp('stores'), 'train', 80)


@pytest.fixture(scope='module')
def unseen(tmp_path_factory):
    return drawn_store(tmp_path_factory.mktemp('stores'), 'test', 60)


@pytest.fixture(scope='module')
def trained(train_store):
    return supervised.train(small_model(), train_store, CONFIG, seed=1)


def recall_at_one_percent(model, weights, store):
    """Accepted genuine pairs at the threshold that 1 % of the impostors pass."""
    backbone = model.build_backbone()
    weight_values.assign(backbone, *weights)
    embeddings = tf.math.l2_normalize(backbone(np.float32(store.examples) / 255), -1).numpy()
    scores = embeddings @ embeddings.T
    same = store.identities[:, None] == store.identities
    pairs = np.triu(np.ones_like(same), 1)
    threshold = np.quantile(scores[pairs & ~same], 0.99)
    return np.mean(scores[pairs & same] > threshold)


def test_learns_identities_that_it_never_saw(trained, unseen):
    weights, history = trained
    before = recall_at_one_percent(small_model(), small_model().initial_weights(1), unseen)
    after = recall_at_one_percent(small_model(), weights, unseen)
    assert after > before + 0.15, (before, after)
    losses = [row['loss'] for row in history]
    assert losses[-1] < 0.5 * losses[0]


def test_history_counts_every_image_once_per_epoch(trained, train_store):
    _, history = trained
    assert [row['epoch'] for row in history] == list(range(1, 9))
    assert [row['images'] for row in history] == [640 * epoch for epoch in range(1, 9)]
    assert history[-1]['step'] == CONFIG.steps(train_store.num_examples) == 160
    rates = [row['learning_rate'] for row in history]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 1e-4


def test_same_seed_same_weights(train_store):
    short = dataclasses.replace(
        CONFIG, epochs=0.5, augmentation=augmentation_config.parse('glyph')
    )
    first, again, other = [
        supervised.train(small_model(), train_store, short, seed=seed)[0][0]
        for seed in (3, 3, 4)
    ]
    for a, b in zip(first, again):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert max(np.abs(a - b).max() for a, b in zip(first, other)) > 0.01


def test_frozen_layers_stay(train_store):
    model = small_model(freeze='conv1,norm*')
    short = dataclasses.replace(CONFIG, epochs=0.5)
    start = model.initial_weights(5)
    (trainable, frozen), _ = supervised.train(model, train_store, short, seed=5)
    assert len(frozen) == 8
    for a, b in zip(start[1], frozen):
        np.testing.assert_array_equal(a, b)
    assert all(np.any(a != b) for a, b in zip(start[0], trainable))


def test_starts_from_given_weights(train_store):
    slow = dataclasses.replace(CONFIG, epochs=0.1, learning_rate=1e-6)
    start = small_model().initial_weights(9)
    weights, _ = supervised.train(small_model(), train_store, slow, seed=1, initial=start)
    for a, b in zip(start[0], weights[0]):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_one_step_of_sgd_is_the_gradient(train_store):
    """The pieces that run side by side make one batch; the head has its own rate."""
    model = small_model()
    config = settings.TrainingConfig(
        epochs=33 / train_store.num_examples,
        batch_size=33,
        learning_rate=0.1,
        momentum=0.0,
        head_lr_scale=10.0,
    )
    start = model.initial_weights(2)
    backbone = model.build_backbone()
    weight_values.assign(backbone, *start)
    objective = supervised._Classification(model, train_store.num_identities, config, 2)
    rows = next(training_loop._row_stream(train_store.num_examples, config, 2))
    assert len(set(rows)) == 33
    images, labels = train_store.examples[rows], train_store.identities[rows]
    variables = [*backbone.trainable_variables, *objective.variables]
    before = [variable.numpy() for variable in variables]
    with tf.GradientTape() as tape:
        loss = objective.loss(backbone, np.float32(images) / 255, labels, None)
    gradients = tape.gradient(loss, variables)
    history = training_loop.fit(backbone, objective, train_store, config, 2)
    assert history[0]['loss'] == pytest.approx(float(loss), rel=1e-4)
    rates = [0.1] * len(backbone.trainable_variables) + [1.0] * len(objective.variables)
    for old, gradient, rate, variable in zip(before, gradients, rates, variables):
        np.testing.assert_allclose(old - rate * gradient.numpy(), variable, atol=1e-5)


class ConstantGradient(training_loop.Objective):
    """A loss with gradient 1 for its one weight, that also notes the steps' keys."""

    def __init__(self):
        self.variables = [tf.Variable(0.0)]
        self.keys = tf.Variable(tf.zeros([0, 2], tf.int64), shape=[None, 2], trainable=False)

    def loss(self, embed, images, labels, key):
        self.keys.assign(tf.concat([self.keys, key[None]], axis=0))
        return tf.identity(self.variables[0]) + 0.0 * tf.reduce_sum(embed(images))


def test_each_step_has_its_own_rate_and_key(train_store):
    config = dataclasses.replace(CONFIG, epochs=0.5, momentum=0.0, warmup=0.2)
    objective = ConstantGradient()
    training_loop.fit(small_model().build_backbone(), objective, train_store, config, 1)
    rates = [float(training_loop.rate_at(config, tf.constant(step), 10)) for step in range(10)]
    assert len(set(rates)) == 10
    np.testing.assert_allclose(objective.variables[0], -sum(rates), rtol=1e-5)
    assert len({tuple(key) for key in objective.keys.numpy()}) == 10


def test_augmentation_reaches_the_images(train_store):
    photo = augmentation_config.parse('photo')
    for config in (CONFIG, dataclasses.replace(CONFIG, augmentation=photo)):
        objective = supervised._Classification(small_model(), 80, config, 1)
        seen = []
        objective.loss(
            lambda images, seen=seen: seen.append(images) or tf.zeros([len(images), 16]),
            np.float32(train_store.examples[:8]) / 255,
            train_store.identities[:8],
            tf.constant([1, 2], tf.int64),
        )
        changed = np.abs(seen[0] - np.float32(train_store.examples[:8]) / 255).max()
        assert (changed > 0.1) == bool(config.augmentation)


@pytest.mark.parametrize('head', ['arcface', 'normalized'])
def test_other_heads_and_adam(train_store, head):
    config = settings.TrainingConfig(
        epochs=2, batch_size=32, learning_rate=0.003, optimizer='adam', warmup=0.1
    )
    _, history = supervised.train(small_model(head=head), train_store, config)
    assert history[-1]['loss'] < 0.9 * history[0]['loss']


def test_warmup_and_cosine():
    config = settings.TrainingConfig(learning_rate=1.0, warmup=0.1)
    rates = [
        float(training_loop.rate_at(config, tf.constant(step), 100)) for step in range(100)
    ]
    np.testing.assert_allclose(rates[0], 0.1)
    np.testing.assert_allclose(rates[50], 0.5)
    assert int(np.argmax(rates)) == 9


def test_divergence_stops_with_the_remedy(train_store):
    config = dataclasses.replace(CONFIG, learning_rate=1e6, epochs=3)
    with pytest.raises(ValueError, match='learning_rate=1000000.0.*lower rate'):
        supervised.train(small_model(), train_store, config)


def test_refuses_images_of_another_shape(train_store):
    model = models.build_embedding_model('small_conv', (20, 20, 1), 16)
    with pytest.raises(ValueError, match='example_spec=20x20x1'):
        supervised.train(model, train_store, CONFIG)


@pytest.mark.parametrize(
    'changes',
    [{'epochs': 0}, {'momentum': 1.0}, {'optimizer': 'lars'}, {'schedule': 'x'}, {'warmup': 2}],
)
def test_impossible_settings(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        settings.TrainingConfig(**changes)

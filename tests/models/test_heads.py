"""Heads: the formulas again from raw weights, gradients, and what is refused."""

import math

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import models
from dp_fedemb.models.heads import arcface
from dp_fedemb.models.heads import base

DIM, IDENTITIES, BATCH = 6, 5, 7
NAMES = sorted(models.HEADS)
PAIR_NAMES = ['prototype', 'supcon']


@pytest.fixture(scope='module')
def batch():
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(BATCH, DIM)).astype(np.float32)
    labels = generator.integers(0, IDENTITIES, BATCH).astype(np.int32)
    return embeddings, labels


def fresh(head, seed=(1, 2), identities=IDENTITIES):
    weights = head.initial_weights(DIM, tf.constant(identities), tf.constant(seed, tf.int64))
    return [np.asarray(weight) for weight in weights]


def cross_entropy(logits, labels):
    logits = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(logits).sum(axis=1))
    return float(np.mean(log_sum - logits[np.arange(len(labels)), labels]))


def cosines(weights, embeddings):
    kernel = weights[0].astype(np.float64)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit @ (kernel / np.linalg.norm(kernel, axis=0))


def pair_formula(name, head, embeddings, labels):
    """The losses over the pairs of a batch, image by image."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    losses = []
    for row, label in enumerate(labels):
        others = [other for other in range(len(labels)) if other != row]
        mates = [other for other in others if labels[other] == label]
        if not mates:
            continue
        if name == 'supcon':
            weights = {a: math.exp(head.scale * unit[row] @ unit[a]) for a in others}
            total = sum(weights.values())
            losses.append(-np.mean([math.log(weights[mate] / total) for mate in mates]))
            continue
        shares = {}
        for identity in set(labels.tolist()):
            mean = np.mean([unit[a] for a in others if labels[a] == identity], axis=0)
            shares[identity] = math.exp(head.scale * unit[row] @ mean / np.linalg.norm(mean))
        losses.append(-math.log(shares[label] / sum(shares.values())))
    return float(np.mean(losses))


def formula(name, head, weights, embeddings, labels):
    """The loss of the papers, in NumPy."""
    rows = np.arange(len(labels))
    if name in PAIR_NAMES:
        return pair_formula(name, head, embeddings.astype(np.float64), labels)
    if name == 'linear':
        return cross_entropy(embeddings.astype(np.float64) @ weights[0] + weights[1], labels)
    scores = cosines(weights, embeddings)
    if name == 'cosface':
        scores[rows, labels] -= head.margin
    if name == 'arcface':
        angles = np.arccos(scores[rows, labels])
        shifted = np.cos(angles + head.margin)
        past = angles + head.margin > math.pi
        falling = scores[rows, labels] - head.margin * math.sin(head.margin)
        scores[rows, labels] = np.where(past, falling, shifted)
    return cross_entropy(head.scale * scores, labels)


@pytest.mark.parametrize('name', NAMES)
def test_loss_is_the_papers(name, batch):
    head = models.build_head(name)
    weights = fresh(head)
    if name == 'linear':
        weights[1] = np.linspace(-1, 1, IDENTITIES, dtype=np.float32)
    loss = head.loss(weights, *batch)
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(formula(name, head, weights, *batch), rel=1e-5)


@pytest.mark.parametrize('name', ['cosface', 'arcface'])
@pytest.mark.parametrize('scale, margin', [(64.0, 0.5), (10.0, 1.2), (4.0, 0.0)])
def test_options_reach_the_formula(name, scale, margin, batch):
    head = models.build_head(name, scale, margin)
    weights = fresh(head)
    wanted = formula(name, head, weights, *batch)
    assert float(head.loss(weights, *batch)) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize('name', ['cosface', 'arcface'])
def test_no_margin_is_the_normalised_head(name, batch):
    plain, head = models.build_head('normalized', 8.0), models.build_head(name, 8.0, 0.0)
    weights = fresh(head)
    assert float(head.loss(weights, *batch)) == pytest.approx(
        float(plain.loss(weights, *batch)), rel=1e-5
    )


@pytest.mark.parametrize('name', NAMES)
def test_gradients_by_finite_differences(name, batch):
    head = models.build_head(name)
    embeddings, labels = batch
    arguments = [*fresh(head), embeddings]

    def loss(*arguments):
        return head.loss(list(arguments[:-1]), arguments[-1], labels)

    theoretical, numerical = tf.test.compute_gradient(loss, arguments, delta=1e-2)
    for found, wanted in zip(theoretical, numerical):
        np.testing.assert_allclose(found, wanted, atol=0.03 * np.abs(wanted).max() + 1e-3)


@pytest.mark.parametrize('name', NAMES)
def test_order_of_the_batch_does_not_matter(name, batch):
    head = models.build_head(name)
    weights, order = fresh(head), np.random.default_rng(1).permutation(BATCH)
    shuffled = head.loss(weights, batch[0][order], batch[1][order])
    assert float(shuffled) == pytest.approx(float(head.loss(weights, *batch)), rel=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_bfloat16_embeddings_give_a_float32_loss(name, batch):
    head = models.build_head(name)
    weights = fresh(head)
    loss = head.loss(weights, tf.cast(batch[0], tf.bfloat16), batch[1])
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(float(head.loss(weights, *batch)), rel=0.02)


@pytest.mark.parametrize('name', NAMES)
def test_fresh_weights(name):
    head = models.build_head(name)
    for identities in (1, 3):
        shapes = [weight.shape for weight in fresh(head, identities=identities)]
        wanted = [
            tuple(identities if size is None else size for size in shape)
            for shape in head.weight_shapes(DIM)
        ]
        assert shapes == wanted
    if name in PAIR_NAMES:
        return
    assert np.array_equal(fresh(head)[0], fresh(head)[0])
    assert not np.array_equal(fresh(head)[0], fresh(head, seed=(1, 3))[0])


@pytest.mark.parametrize('name', NAMES)
def test_one_identity_and_zero_embeddings_are_finite(name):
    head = models.build_head(name)
    embeddings, labels = tf.zeros([2, DIM]), tf.zeros([2], tf.int32)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = head.loss(fresh(head, identities=1), embeddings, labels)
    assert np.isfinite(loss) and np.isfinite(tape.gradient(loss, embeddings)).all()


@pytest.mark.parametrize('name', PAIR_NAMES)
def test_a_batch_without_a_pair_trains_nothing(name):
    head = models.build_head(name)
    embeddings = tf.constant(np.random.default_rng(2).normal(size=(4, DIM)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = head.loss([], embeddings, tf.range(4))
    assert float(loss) == 0
    np.testing.assert_array_equal(tape.gradient(loss, embeddings), 0)
    empty = head.loss([], tf.zeros([0, DIM]), tf.zeros([0], tf.int32))
    assert float(empty) == 0


@pytest.mark.parametrize('scale', [1.0, 8.0, 64.0])
def test_arcface_where_embedding_and_weight_are_parallel(scale):
    """cos = 1, -1 and just beside: the sine's own gradient is infinite there."""
    head = arcface.ArcFace(scale, margin=0.5)
    values = tf.constant([1.0, 1.0 + 1e-7, 1 - 1e-7, -1.0, -1.0 - 1e-7, -1 + 1e-7])
    scores = tf.stack([values, tf.zeros_like(values)], axis=1)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = head.loss_of_scores(scores, tf.zeros([6], tf.int32))
    assert np.isfinite(loss) and np.isfinite(tape.gradient(loss, scores)).all()


def test_arcface_rewards_a_smaller_angle_everywhere():
    head = arcface.ArcFace(scale=16.0, margin=0.5)
    losses = []
    for angle in np.linspace(0.01, math.pi - 0.01, 200):
        scores = tf.constant([[math.cos(angle), 0.0]], tf.float32)
        losses.append(float(head.loss_of_scores(scores, tf.zeros([1], tf.int32))))
    assert np.all(np.diff(losses) >= -1e-5)
    assert losses[0] < 0.1 and losses[-1] > 16


def test_scale_of_the_bound_reaches_its_probability():
    """The bound quoted in `CosineHead`, at the best arrangement: 31 others at -1/31."""
    scale = 31 / 32 * math.log(31 * 0.9 / 0.1)
    scores = np.full((1, 32), -1 / 31)
    scores[0, 0] = 1.0
    assert scale == pytest.approx(5.5, abs=0.1)
    loss = base.mean_cross_entropy(tf.constant([0]), tf.constant(scale * scores, tf.float32))
    assert math.exp(-float(loss)) == pytest.approx(0.9, abs=1e-4)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (('softmax',), "head='softmax': expected one of arcface, cosface, linear, normalized"),
        (('linear', 8.0), 'head linear has no scale'),
        (('normalized', None, 0.1), 'head normalized has no margin'),
        (('cosface', 0.0), 'head_scale=0.0: expected a number above 0'),
        (('cosface', 8.0, -0.1), 'head_margin=-0.1: expected a number of at least 0'),
        (('arcface', 8.0, 1.6), r'head_margin=1.6: expected an angle in \[0, pi/2\)'),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.build_head(*arguments)

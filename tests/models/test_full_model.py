"""The DP-FedAvg baseline's model: backbone and global head in one."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import models
from dp_fedemb.aggregation import gaussian
from dp_fedemb.aggregation import noise
from dp_fedemb.learning import client_config
from dp_fedemb.learning import local_fine_tuning
from dp_fedemb.learning import shard_work

SHAPE, DIM, IDENTITIES = (12, 12, 1), 8, 6


@pytest.fixture(scope='module')
def model():
    return models.build_embedding_model('small_conv', SHAPE, DIM, freeze='conv')


@pytest.fixture(scope='module')
def full(model):
    return models.build_full_model(model, models.AllIdentities(IDENTITIES))


def client(seed=0):
    generator = np.random.default_rng(seed)
    return {
        'examples': generator.integers(0, 255, (5, *SHAPE), np.uint8),
        'labels': np.array([0, 4, 4, 5, 1], np.int32),
        'seed': np.array([3, 4], np.int64),
    }


def test_weights_are_the_backbones_and_then_the_heads(model, full):
    trainable, frozen = full.initial_weights(0)
    backbone, backbone_frozen = model.initial_weights(0)
    assert [w.shape for w in trainable] == [w.shape for w in backbone] + [
        (DIM, IDENTITIES),
        (IDENTITIES,),
    ]
    assert [w.shape for w in frozen] == [w.shape for w in backbone_frozen]
    counts, of_backbone = full.weight_counts(), model.weight_counts()
    assert counts.noised == of_backbone.noised + DIM * IDENTITIES + IDENTITIES
    taken = full.released((trainable, frozen))
    assert all(found is wanted for found, wanted in zip(taken[0], trainable))
    assert len(taken[0]) == len(backbone) and len(taken[1]) == len(backbone_frozen)


def test_weights_of_another_model_are_refused(model, full):
    with pytest.raises(ValueError, match='expected those of the backbone'):
        full.released(model.initial_weights(0))


@pytest.mark.parametrize('head', ['arcface', 'cosface', 'linear', 'normalized'])
def test_loss_is_the_heads(head):
    """One step of the full model = one step of backbone and head with equal weights."""
    model = models.build_embedding_model('small_conv', SHAPE, DIM, head=head)
    full = models.build_full_model(model, models.AllIdentities(IDENTITIES))
    config = client_config.ClientConfig(learning_rate=0.05)
    backbone, _ = model.initial_weights(1)
    # The local head starts as the client's seed says; the global one is given the same.
    head_start = [
        weight.numpy()
        for weight in model.head.initial_weights(
            DIM, tf.constant(IDENTITIES), tf.constant([3, 4], tf.int64)
        )
    ]
    rate = tf.constant(0.05)
    local, local_loss = local_fine_tuning.LocalFineTuning(model, config).update(
        backbone, client(), rate
    )
    found, loss = local_fine_tuning.LocalFineTuning(full, config).update(
        backbone + head_start, client(), rate
    )
    assert float(loss) == pytest.approx(float(local_loss), rel=1e-5)
    for part, wanted in zip(found, local):
        np.testing.assert_allclose(part, wanted, atol=1e-6)
    assert len(found) == len(local) + len(head_start) and np.any(found[len(local)])


def test_head_only_steps_have_no_head_to_train_and_lose_no_step(full):
    start, frozen = full.initial_weights(0)
    found = []
    for steps in (2, 0):
        config = client_config.ClientConfig(head_only_steps=steps, momentum=0.5)
        fine_tuning = local_fine_tuning.LocalFineTuning(full, config)
        fine_tuning.load_frozen(frozen)
        found.append(fine_tuning.update(start, client(), tf.constant(0.1))[0])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(np.any(part) for part in found[0])


def test_a_loss_over_pairs_has_no_head_to_share():
    model = models.build_embedding_model('small_conv', SHAPE, DIM, head='supcon')
    with pytest.raises(ValueError, match='SupCon has no weights .* linear'):
        models.build_full_model(model, models.AllIdentities(IDENTITIES))


def test_the_shards_of_the_learning_process_run_it(full):
    """In a graph, with the head clipped and summed along with the backbone."""
    query = gaussian.GaussianSumQuery(0.1, 0.0, full.record_specs(), noise.GraphNoise((0, 0)))
    work = shard_work.ShardWork(full, client_config.ClientConfig(), query)
    weights = tff.learning.models.ModelWeights(*full.initial_weights(0))
    spec = local_fine_tuning.virtual_client_spec(SHAPE)
    shard = tf.data.Dataset.from_generator(lambda: [client()], output_signature=dict(spec))
    total, measurements = work.run(weights, tf.constant(0.1), tf.constant(0.1), shard)
    assert measurements['virtual_clients'] == 1 and measurements['non_finite'] == 0
    assert [part.shape for part in total] == [part.shape for part in weights.trainable]
    assert all(np.any(part) for part in total)
    norm = tf.linalg.global_norm([tf.cast(part, tf.float64) for part in total])
    assert float(norm) == pytest.approx(2**44, rel=1e-5)


def test_start_is_the_backbones_with_a_fresh_head(model, full):
    backbone = model.initial_weights(3)
    trainable, _ = full.start(backbone, seed=1)
    assert all(one is other for one, other in zip(trainable, backbone[0]))
    fresh = full.initial_weights(1)[0][len(backbone[0]) :]
    for one, other in zip(trainable[len(backbone[0]) :], fresh, strict=True):
        np.testing.assert_array_equal(one, other)
    # A model with local heads is aggregated and released as it is.
    assert model.start(backbone, 1) is backbone and model.released(backbone) is backbone
    assert model.public_labels and model.identity_labels(['anna']) is None


def test_a_hashed_label_depends_on_the_name_and_a_public_number_alone(model):
    full = models.build_full_model(model, models.HashBuckets(5))
    assert full.public_labels and full.embedding_dim == 5
    names = [f'person{number}' for number in range(400)]
    labels = full.identity_labels(names)
    assert labels.dtype == np.int32 and set(labels) == set(range(5))
    # Whoever else there is, and in whatever order.
    np.testing.assert_array_equal(full.identity_labels(names[7:3:-1]), labels[7:3:-1])
    shapes = [weight.shape for weight in full.initial_weights(0)[0][-2:]]
    assert shapes == [(DIM, 5), (5,)]
    assert np.bincount(labels).min() > 40


def test_labels_of_a_public_list(model):
    full = models.build_full_model(model, models.PublicList(('b', 'a')))
    assert full.public_labels
    np.testing.assert_array_equal(full.identity_labels(['a', 'b', 'a']), [1, 0, 1])
    with pytest.raises(ValueError, match="1 identities are not on the public list of 2.*'c'"):
        full.identity_labels(['a', 'c'])
    with pytest.raises(ValueError, match='2 of them, 1 different'):
        models.PublicList(['a', 'a'])


def test_a_label_for_every_identity_is_not_public(full):
    assert not full.public_labels
    np.testing.assert_array_equal(full.identity_labels('abc'), [0, 1, 2])


@pytest.mark.parametrize('space', [models.AllIdentities, models.HashBuckets])
def test_number_of_labels_is_checked(space):
    with pytest.raises(ValueError, match='=0: expected a number above 0'):
        space(0)

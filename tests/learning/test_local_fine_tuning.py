"""Local fine-tuning and the sum of a shard: what carries over, and what must not."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.learning import augmentation
from dp_fedemb.learning import augmentation_config
from dp_fedemb.learning import client_config
from dp_fedemb.learning import local_fine_tuning
from dp_fedemb.learning import shard_work

CONFIG = client_config.ClientConfig(learning_rate=0.3, batch_size=4, momentum=0.5)


def build_update(model, weights, config):
    """Function from a virtual client, and a rate, to (update, loss)."""
    tuning = local_fine_tuning.LocalFineTuning(model, config)
    theta = [tf.constant(weight) for weight in weights]
    spec = local_fine_tuning.virtual_client_spec(model.example_spec)
    traced = tf.function(
        lambda client, rate: tuning.update(theta, client, rate), [spec, tf.TensorSpec([])]
    )

    def update(client, rate=config.learning_rate):
        delta, loss = traced(tf.nest.map_structure(tf.constant, client), tf.constant(rate))
        return [part.numpy() for part in delta], loss.numpy()

    return update


@pytest.fixture(scope='module')
def update(small_model, small_weights):
    return build_update(small_model, small_weights, CONFIG)


def test_head_only_steps_leave_the_backbone_alone(small_model, small_weights, make_clients):
    client = make_clients((10,))[0]  # Three steps of at most four examples.
    changed = {}
    for steps in (3, 2):
        config = dataclasses.replace(CONFIG, head_only_steps=steps)
        delta, loss = build_update(small_model, small_weights, config)(client)
        changed[steps] = [bool(np.any(part)) for part in delta]
        assert loss > 0
    assert changed == {3: [False] * 4, 2: [True] * 4}


def test_virtual_clients_see_nothing_of_each_other(update, make_clients):
    # More identities before than after, momenta, another order: all must be forgotten.
    clients = make_clients((12, 5, 0, 9))
    first = [update(client) for client in clients]
    again = [update(client) for client in reversed(clients)][::-1]
    for (one, loss), (other, other_loss) in zip(first, again):
        for part, other_part in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, other_part)
        assert loss == other_loss


def test_no_examples_no_update(update, make_clients):
    delta, loss = update(make_clients((0,))[0])
    assert not any(np.any(part) for part in delta) and loss == 0.0


def test_key_decides_head_and_order(update, make_clients):
    client = make_clients((9,))[0]
    one, _ = update(client)
    other, _ = update(dict(client, seed=client['seed'] + 1))
    assert max(np.abs(a - b).max() for a, b in zip(one, other)) > 1e-3


def test_frozen_weights_come_from_the_server(
    small_model, small_weights, make_clients, read, describe
):
    def build():
        images = tf.keras.Input(small_model.example_spec.shape)
        frozen = tf.keras.layers.Dense(5, activation='relu', trainable=False)
        x = frozen(tf.keras.layers.Flatten()(images))
        return tf.keras.Model(images, tf.keras.layers.Dense(3)(x))

    half = models.EmbeddingModel(build, small_model.example_spec, 3, small_model.head)
    shard = describe(make_clients((8,)))

    def sums(model, trainable, frozen):
        work = shard_work.ShardWork(model, CONFIG, shard_work.SumOnlyQuery())
        weights = tff.learning.models.ModelWeights(
            [tf.constant(weight) for weight in trainable], [tf.constant(w) for w in frozen]
        )
        return work.run(weights, (), tf.constant(1e-4), read(shard))[0]

    whole = sums(small_model, small_weights, [])
    part = sums(half, small_weights[2:], small_weights[:2])
    # In small steps, the second layer moves as if the first one had been trained too.
    assert len(part) == 2
    for one, other in zip(part, whole[2:]):
        np.testing.assert_allclose(one, other, rtol=0.01, atol=1e-7)


CLIP_NORM = 0.05


@pytest.fixture(scope='module')
def run_shard(small_model, small_weights, make_plan, describe, read):
    """Function from virtual clients to the flat sum of their clipped updates, over C."""
    query = aggregation.build_query(
        privacy.PrivateRun(make_plan(privacy.Gaussian(CLIP_NORM, 1.5)), 1),
        small_model.record_specs(),
    )
    work = shard_work.ShardWork(small_model, CONFIG, query)
    weights = tff.learning.models.ModelWeights(
        [tf.constant(weight) for weight in small_weights], []
    )
    params = query.derive_sample_params(query.initial_global_state())
    specs = {
        name: tf.TensorSpec([None, *np.shape(value)[1:]], np.asarray(value).dtype)
        for name, value in describe([]).items()
    }
    # One graph for shards of any size.
    traced = tf.function(
        lambda shard, rate: work.run(weights, params, rate, read(shard)),
        [specs, tf.TensorSpec([])],
    )

    def run(clients, rate=CONFIG.learning_rate):
        sums, measurements = traced(dict(describe(clients)), tf.constant(rate))
        flat = np.concatenate([part.numpy().ravel() for part in sums])
        return flat / 2**20, {name: value.numpy() for name, value in measurements.items()}

    return run


def test_diverged_virtual_client_becomes_zero(run_shard, make_clients):
    clients = make_clients((6, 0))
    # A rate that overflows float32 within the two steps of the only client with data.
    flat, measurements = run_shard(clients, rate=1e36)
    assert measurements['non_finite'] == 1 and measurements['virtual_clients'] == 1
    np.testing.assert_array_equal(flat, np.zeros_like(flat))
    assert np.isfinite([measurements['loss'], measurements['update_norm']]).all()


def test_sum_is_of_clipped_updates_and_of_this_call_alone(run_shard, make_clients):
    clients = make_clients((6, 9, 3))
    alone = [run_shard([client])[0] for client in clients]
    together, measurements = run_shard(clients)
    np.testing.assert_array_equal(together, sum(alone))
    assert 0.999 < max(np.linalg.norm(part) for part in alone) <= 1
    assert measurements['update_norm'] > 3 * CLIP_NORM  # They were longer.
    nothing, _ = run_shard([])
    np.testing.assert_array_equal(nothing, np.zeros_like(nothing))


def merged(users, images, key):
    """One virtual client of several users, of two identities each."""
    labels = [2 * local + np.arange(len(images[user])) % 2 for local, user in enumerate(users)]
    empty = np.zeros([0, 4, 4, 1], np.uint8)
    return {
        'examples': np.concatenate([empty] + [images[user] for user in users]),
        'labels': np.concatenate([np.zeros(0)] + labels).astype(np.int32),
        'seed': np.array([3, key]),
    }


@pytest.mark.parametrize('k, factor', [(1, 1.0), (3, 2.0)])
def test_user_changes_the_sum_by_the_derived_sensitivity_at_most(
    run_shard, make_plan, k, factor
):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, [24, 4, 4, 4, 1], np.uint8)
    plan = make_plan(
        'gaussian',
        num_users=24,
        virtual_clients_per_round=4,
        users_per_virtual_client=k,
        sampling=privacy.Poisson('slots'),
    )
    assert plan.sensitivity_over_clip == factor
    run, moves = privacy.PrivateRun(plan, 5), []
    for round_num in range(2):
        groups = [list(users) for users in run.cohort(round_num).users]
        whole, _ = run_shard([merged(users, images, i) for i, users in enumerate(groups)])
        for user in list(itertools.chain.from_iterable(groups))[:5]:
            # Others keep their virtual clients. Alone (k = 1), a user takes its own along.
            rest = [
                merged([other for other in users if other != user], images, index)
                for index, users in enumerate(groups)
                if users != [user] or k > 1
            ]
            moves.append(np.linalg.norm(run_shard(rest)[0] - whole))
    assert max(moves) <= factor * (1 + 1e-12)
    # Not for want of a change.
    assert max(moves) > {1: 0.99, 3: 0.5}[k]


AUGMENTED = dataclasses.replace(
    CONFIG, augmentation=augmentation_config.Augmentation(brightness=0.3, shift=0.2), views=2
)


def test_views_are_changed_images_keyed_by_client_and_step(
    small_model, small_weights, make_clients
):
    """Every example twice in each step, changed anew, and the same for the same key."""
    client = make_clients((10,))[0]
    update = build_update(small_model, small_weights, AUGMENTED)
    seen = []
    change = augmentation.augment

    def spy(images, config, key):
        changed = change(images, config, key)
        tf.py_function(
            lambda *arrays: seen.append([a.numpy() for a in arrays]), [images, changed], []
        )
        return changed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augmentation, 'augment', spy)
        watched = build_update(small_model, small_weights, AUGMENTED)
        watched(client)
    assert [len(images) for images, _ in seen] == [8, 8, 4]
    for images, changed in seen:
        np.testing.assert_array_equal(images[::2], images[1::2])
        assert (changed[::2] != changed[1::2]).reshape(len(images) // 2, -1).any(axis=1).all()
    first, again = update(client), update(client)
    for part, other in zip(first[0], again[0], strict=True):
        np.testing.assert_array_equal(part, other)
    plain = build_update(small_model, small_weights, CONFIG)(client)
    assert any((part != other).any() for part, other in zip(first[0], plain[0], strict=True))


def test_a_head_without_weights_loses_no_step_to_head_only_steps(small_weights, small_model):
    model = dataclasses.replace(small_model, head=models.build_head('supcon'))
    client = {
        'examples': np.random.default_rng(0).integers(0, 256, (4, 4, 4, 1), np.uint8),
        'labels': np.array([0, 0, 1, 1], np.int32),
        'seed': np.array([1, 2]),
    }
    config = dataclasses.replace(CONFIG, head_only_steps=5)
    delta, loss = build_update(model, small_weights, config)(client)
    assert loss > 0 and any(part.any() for part in delta)


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'views': 2}, 'views=2 without augmentation'),
        ({'views': 0}, 'views=0: expected'),
        ({'images_per_identity': -1}, 'images_per_identity=-1: expected'),
    ],
)
def test_settings_that_make_no_batch(changes, message):
    with pytest.raises(ValueError, match=message):
        client_config.ClientConfig(**changes)

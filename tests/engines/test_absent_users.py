"""What a user's absence, or other data, changes in a round's sum, through an engine.

With whole groups a group with an absent member is void: the sum loses what the group
gave, at most C, and the count of records loses the group. Other data of the user change
it by at most 2C. What the other groups give stays what it was.
"""

import types
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import data
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.aggregation import centred
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import in_process
from dp_fedemb.learning import client_config

CLIP_NORM, GROUPS, PLACES, USER, SHAPE = 0.01, 3, 3, 0, (4, 4, 1)
USERS = GROUPS * PLACES
ROUNDS = range(4)
# The weights are near 0.1 and a round changes them by 0.01: float32 keeps 1e-7 of it.
TOLERANCE = 1e-7


def write(path, of_user):
    with data.UserStoreWriter(path, SHAPE) as writer:
        for user in range(USERS):
            if user == USER and of_user == 'absent':
                writer.add_absent_user(str(user))
                continue
            generator = np.random.default_rng([user, of_user == 'other' and user == USER])
            images = generator.integers(0, 256, (6, *SHAPE), np.uint8)
            # Held by several users, so that one's leaving numbers the others' anew.
            names = generator.permutation([str(user), str(user), 'a', 'a', 'b', 'c'])
            writer.add_user(images, names, str(user))
    return data.UserStore.open(path)


@pytest.fixture(scope='module')
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp('stores')
    return {of_user: write(root / of_user, of_user) for of_user in ('own', 'absent', 'other')}


def model():
    def build():
        images = tf.keras.Input(SHAPE)
        flat = tf.keras.layers.Flatten()(images)
        return tf.keras.Model(images, tf.keras.layers.Dense(3)(flat))

    return models.EmbeddingModel(build, SHAPE, 3, models.HEADS['linear']())


def cohort(round_num, whole_groups=True, without_group=False):
    order = np.random.default_rng(round_num).permutation(USERS).reshape(GROUPS, PLACES)
    nobody = np.zeros(0, np.int64)
    users = [nobody if without_group and USER in group else group for group in order]
    return types.SimpleNamespace(users=tuple(users), whole_groups=whole_groups)


@pytest.fixture(scope='module', params=['around zero', 'centred'])
def sums(stores, request):
    """Function from a store's name and a round's cohort to (sum, number of records)."""
    centre = None
    if request.param == 'centred':
        # Longer than the clip norm, so that a void group's share of it would show.
        centre = lambda weights, rate, round_num: [
            0.02 * tf.ones_like(weight) for weight in weights.trainable
        ]
    plan = privacy.PrivacyPlan(
        num_users=USERS,
        virtual_clients_per_round=GROUPS,
        users_per_virtual_client=PLACES,
        rounds=len(ROUNDS),
        mechanism=privacy.ClipOnly(CLIP_NORM),
    )
    run = privacy.PrivateRun(plan, 2**100)

    def build_query():
        query = aggregation.build_query(run, model().record_specs())
        return query if centre is None else centred.CentredQuery(query, model().record_specs())

    engines = {
        name: in_process.InProcessEngine(
            model(),
            client_config.ClientConfig(learning_rate=0.1, batch_size=4),
            query=build_query(),
            centre=centre,
            server_optimizer=tff.learning.optimizers.build_sgdm(1.0),
            reader=virtual_clients.build_reader(store),
            num_shards=2,
        )
        for name, store in stores.items()
    }
    start = [0.1 * np.ones(spec.shape, np.float32) for spec in model().record_specs()]
    weights = tff.learning.models.ModelWeights(start, [])

    def compute(name, round_num, **how):
        with mock.patch.object(
            privacy.PrivateRun, 'cohort', lambda run, number: cohort(number, **how)
        ):
            shards = virtual_clients.assemble(stores[name], run, round_num, 2)
        engine = engines[name]
        state = engine.set_model_weights(engine.initialize(), weights)
        after = engine.next(state, shards).state.global_model_weights.trainable
        # Without noise, and the server's step has rate 1 on the sum over m.
        delta = [GROUPS * np.float64(a - b).ravel() for a, b in zip(start, after, strict=True)]
        return np.concatenate(delta), sum(len(shard['seeds']) for shard in shards)

    return compute


def test_an_absent_user_voids_its_group_and_nothing_else(sums):
    for round_num in ROUNDS:
        whole, records = sums('own', round_num)
        void, records_without = sums('absent', round_num)
        others, _ = sums('own', round_num, without_group=True)
        assert 0.5 * CLIP_NORM < np.linalg.norm(whole - void) <= CLIP_NORM + TOLERANCE
        np.testing.assert_allclose(void, others, atol=TOLERANCE)
        assert (records, records_without) == (GROUPS, GROUPS - 1)


def test_other_data_change_the_sum_by_at_most_twice_the_clip(sums):
    for round_num in ROUNDS:
        own, other = sums('own', round_num)[0], sums('other', round_num)[0]
        assert TOLERANCE < np.linalg.norm(own - other) <= 2 * CLIP_NORM + TOLERANCE
        # The other groups give what they gave, though identities are numbered anew.
        np.testing.assert_allclose(
            sums('own', round_num, without_group=True)[0],
            sums('other', round_num, without_group=True)[0],
            atol=TOLERANCE,
        )


def test_in_slots_the_others_train_without_the_absent(sums):
    for round_num in ROUNDS:
        whole, _ = sums('own', round_num, whole_groups=False)
        without, records = sums('absent', round_num, whole_groups=False)
        others, _ = sums('own', round_num, whole_groups=False, without_group=True)
        assert TOLERANCE < np.linalg.norm(whole - without) <= 2 * CLIP_NORM + TOLERANCE
        assert np.linalg.norm(without - others) > 0.5 * CLIP_NORM
        assert records == GROUPS

"""An adversary who sees every round's backbone, and looks for the generator's lattice.

Users of one identity have nothing to learn alone (k = 1), so their updates are zero and
a round without anybody else releases pure noise. Float32 Box-Muller makes pairs of
normals from uniforms of 23 bits: exp(-(x^2 + y^2) / 2) of such a pair is a multiple of
2^-23. A user of two identities moves every coordinate off that lattice, so whoever knows
all the others (the adversary of differential privacy) reads off the rounds of that user.
"""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import data
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.aggregation import noise
from dp_fedemb.aggregation import rounded_gaussian
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import in_process
from dp_fedemb.learning import client_config

SHAPE, ROUNDS, CLIP_NORM = (6, 6, 1), 8, 1.0
TWO_IDENTITIES = 5  # The user that has them.
PRIVATE = sorted(name for name, cls in privacy.MECHANISMS.items() if cls.private)
MECHANISMS = {
    'gaussian': privacy.Gaussian(CLIP_NORM, 1.0),
    'adaptive_gaussian': privacy.AdaptiveGaussian(
        CLIP_NORM, 1.0, adaptive_clip_learning_rate=1e-3, clipped_count_stddev=2.0
    ),
    'tree': privacy.Tree(CLIP_NORM, 1.0, restart_rounds=1),
    'tree_adaptive': privacy.TreeAdaptive(
        CLIP_NORM,
        1.0,
        restart_rounds=1,
        adaptive_clip_learning_rate=1e-3,
        clipped_count_stddev=2.0,
    ),
    'banded': privacy.Banded(CLIP_NORM, 1.0, strategy_momentum=0.9, bands=2),
    'bisr': privacy.Bisr(CLIP_NORM, 1.0, strategy_momentum=0.9, draws=3),
    'blt': privacy.Blt(CLIP_NORM, 1.0, strategy_momentum=0.9, buffers=2),
}
# Mechanism and where its noise is drawn; correlated noise is the driver's alone.
PLACES = [(name, 'driver') for name in PRIVATE] + [
    (name, 'graph') for name in PRIVATE if not isinstance(MECHANISMS[name], privacy.Correlated)
]
# Those of which a round's noise is one draw, as the generator makes it.
SINGLE_DRAWS = [
    (name, place)
    for name, place in PLACES
    if not isinstance(MECHANISMS[name], privacy.Correlated)
]


def build_backbone():
    layers = tf.keras.layers
    return tf.keras.Sequential([tf.keras.Input(SHAPE), layers.Flatten(), layers.Dense(120)])


MODEL = models.EmbeddingModel(build_backbone, SHAPE, 120, models.HEADS['linear']())


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp('store') / 'users'
    with data.UserStoreWriter(path, SHAPE) as writer:
        for user in range(8):
            images = generator.integers(0, 256, (4, *SHAPE), np.uint8)
            names = [f'{user}a'] * 2 + [f'{user}{"b" if user == TWO_IDENTITIES else "a"}'] * 2
            writer.add_user(images, names, name=f'user{user}')
    return data.UserStore.open(path)


def attack(store, name, in_graph):
    """Returns each round's mean distance from the lattice, and who truly took part.

    The distance is in steps of the lattice: near 0 on it, and 1/4 for numbers that know
    nothing of it.
    """
    mechanism = MECHANISMS[name]
    sampling = privacy.Poisson() if mechanism.independent_rounds else privacy.MinSeparation()
    plan = privacy.PrivacyPlan(
        num_users=8,
        virtual_clients_per_round=4,
        users_per_virtual_client=1,
        rounds=ROUNDS,
        mechanism=mechanism,
        sampling=sampling,
        delta=1e-3,
    )
    run = privacy.PrivateRun(plan, 12)
    engine = in_process.InProcessEngine(
        MODEL,
        client_config.ClientConfig(),
        reader=virtual_clients.build_reader(store),
        query=aggregation.build_query(run, MODEL.record_specs(), in_graph=in_graph),
        server_optimizer=tff.learning.optimizers.build_sgdm(1.0),
    )
    state = engine.initialize()
    zeros = [np.zeros(spec.shape, np.float32) for spec in MODEL.record_specs()]
    state = engine.set_model_weights(state, tff.learning.models.ModelWeights(zeros, []))
    distances, took_part = [], []
    for round_num in range(ROUNDS):
        shards = virtual_clients.assemble(store, run, round_num, 1)
        after = engine.next(state, shards).state
        released, before = (
            flat(each.global_model_weights.trainable) for each in (after, state)
        )
        # All of this is public: m, z, C of the round and the unit of the grid.
        clip_norm = float(state.aggregator.numerator_state.clip_norm)
        stddev = clip_norm * mechanism.sum_noise_multiplier / (1 - 2.0**-21)
        normals = (before - released) * plan.virtual_clients_per_round / stddev
        distances.append(distance_from_lattice(normals))
        took_part.append(TWO_IDENTITIES in np.concatenate([[-1], *run.cohort(round_num).users]))
        state = after
    assert 2 <= sum(took_part) <= ROUNDS - 2
    return np.array(distances), np.array(took_part)


def flat(weights):
    return np.concatenate([np.asarray(weight, np.float64).ravel() for weight in weights])


def distance_from_lattice(normals):
    pairs = normals[: len(normals) // 2 * 2].reshape(-1, 2)
    uniforms = np.exp(-np.sum(pairs**2, axis=1) / 2)
    # Far from the middle, where float32 weights tell a uniform of 23 bits best.
    steps = uniforms[uniforms < 0.03] * 2.0**23
    assert len(steps) > 30
    return np.mean(np.abs(steps - np.round(steps)))


@pytest.mark.parametrize('name, place', PLACES)
def test_no_better_than_chance(name, place, store):
    distances, _ = attack(store, name, place == 'graph')
    # Uniform on [0, 1/2] with some 60 pairs a round, whether the user took part or not.
    assert np.all(np.abs(distances - 0.25) < 5 * 0.5 / np.sqrt(12 * 30))


def box_muller(key, stddev, size):
    """The generator of before: `tf.random.stateless_normal` in float32."""
    seed = np.frombuffer(key[:16], np.int64)
    normals = tf.random.stateless_normal([size], seed).numpy().astype(np.float64)
    return np.rint(stddev * normals).astype(np.int64)


@pytest.mark.parametrize('name, place', SINGLE_DRAWS)
def test_mutation_the_old_generator_names_the_rounds(name, place, store, monkeypatch):
    if place == 'graph':

        def draw(source, state, indices, stddev, size):
            seed = noise.derived_key(state, indices)
            # As it was in float32; on the driver's finer grid, which float sums had.
            normals = tf.cast(tf.random.stateless_normal([size], seed), tf.float64)
            return tf.cast(tf.round(stddev * normals), tf.int64)

        monkeypatch.setattr(noise.GraphNoise, 'draw', draw)
        monkeypatch.setattr(noise.GraphNoise, 'least_bits', 20)
    else:
        monkeypatch.setattr(rounded_gaussian, 'draw', box_muller)
    distances, took_part = attack(store, name, place == 'graph')
    # Every round, without an error.
    np.testing.assert_array_equal(distances > 0.18, took_part)

"""From the seed alone: cohort, exact sum and noise of rounds, and the released weights.

What an engine released is computed again without its server half, from the parts that
the guarantee is about, and every fault that is patched in must show.
"""

import collections
import contextlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.aggregation import fixed_point
from dp_fedemb.aggregation import rounded_gaussian
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import in_process
from dp_fedemb.engines import remote_engine
from dp_fedemb.engines import runtime as runtime_lib
from dp_fedemb.engines import tff_engine
from dp_fedemb.engines import worker_process
from dp_fedemb.learning import client_config

SHAPE, ROUNDS, CLIP_NORM, Z, UNITS = (6, 6, 1), 2, 0.1, 0.5, 2**20
PLAN = privacy.PrivacyPlan(
    num_users=30,
    virtual_clients_per_round=6,
    users_per_virtual_client=2,
    rounds=ROUNDS,
    mechanism=privacy.Gaussian(CLIP_NORM, Z),
)
CONFIG = client_config.ClientConfig(batch_size=4)
Released = collections.namedtuple('Released', 'weights sums')


def build_backbone():
    layers = tf.keras.layers
    return tf.keras.Sequential([tf.keras.Input(SHAPE), layers.Flatten(), layers.Dense(8)])


MODEL = models.EmbeddingModel(build_backbone, SHAPE, 8, models.HEADS['linear']())


@pytest.fixture(scope='module')
def store(tmp_path_factory, write_users):
    return write_users(tmp_path_factory.mktemp('store') / 'users', PLAN.num_users, SHAPE)


@contextlib.contextmanager
def engine_of(kind, run, store, num_shards):
    reader = virtual_clients.build_reader(store)
    options = {
        'query': aggregation.build_query(run, MODEL.record_specs()),
        'server_optimizer': tff.learning.optimizers.build_sgdm(1.0),
        'num_shards': num_shards,
    }
    if kind == 'in_process':
        yield in_process.InProcessEngine(MODEL, CONFIG, reader=reader, **options)
    elif kind == 'tff':
        with runtime_lib.LocalRuntime(1) as runtime:
            yield tff_engine.TffEngine(runtime, MODEL, CONFIG, reader=reader, **options)
    else:
        worker = worker_process.WorkerProcess(1)
        try:
            worker.wait_until_listening(240)
            with remote_engine.RemoteRuntime([f'localhost:{worker.port}']) as remote:
                yield remote_engine.RemoteEngine(remote, MODEL, CONFIG, store, **options)
        finally:
            worker.stop()


def flat(weights):
    return np.concatenate([np.ravel(weight) for weight in weights])


def released(engine, run, store):
    """The flat weights before and after every round, and each round's exact sum."""
    state = engine.set_model_weights(
        engine.initialize(), tff.learning.models.ModelWeights(*MODEL.initial_weights(7))
    )
    weights, sums = [flat(state.global_model_weights.trainable)], []
    for round_num in range(ROUNDS):
        shards = virtual_clients.assemble(store, run, round_num, engine.num_shards)
        commit = lambda total: sums.append(flat(total)) or 0
        state = engine.next(state, shards, commit).state
        weights.append(flat(state.global_model_weights.trainable))
    return Released(weights, sums)


def check_released(found, run):
    """Fails unless every round released its sum with the noise that the seed tells."""
    for round_num, total in enumerate(found.sums):
        key = run.noise_key(0, round_num, 0)
        # The draws, by the definition and not by the engine's arithmetic.
        noise = rounded_gaussian_by_hand(key, Z * UNITS, len(total))
        mean = (total + noise) * (CLIP_NORM / (UNITS * (1 - 2.0**-21))) / 6
        expected = found.weights[round_num] - mean
        np.testing.assert_allclose(found.weights[round_num + 1], expected, rtol=1e-6, atol=1e-7)


def rounded_gaussian_by_hand(key, stddev, size):
    words = rounded_gaussian.words(key, 0, size)
    return np.array(
        [
            rounded_gaussian._exact(key, int(word) >> 1, index, stddev)
            * (1 if word & 1 else -1)
            for index, word in enumerate(int(word) for word in words)
        ]
    )


def check_noise_of_its_own(run):
    """Fails if two rounds have the same noise."""
    assert len({run.noise_key(0, round_num, 0) for round_num in range(100)}) == 100


@pytest.mark.parametrize('kind', ['in_process', 'tff', 'remote'])
def test_replay(kind, store):
    run = privacy.PrivateRun(PLAN, 21)
    with engine_of(kind, run, store, num_shards=2) as engine:
        found = released(engine, run, store)
    check_released(found, run)
    check_noise_of_its_own(run)
    # The sums again, from the seed, by another engine of the kind with other shards.
    with engine_of(kind, privacy.PrivateRun(PLAN, 21), store, num_shards=3) as engine:
        again = released(engine, privacy.PrivateRun(PLAN, 21), store)
    np.testing.assert_array_equal(found.sums, again.sums)
    np.testing.assert_array_equal(found.weights, again.weights)
    for total in found.sums:
        assert np.any(total)


def test_another_seed_is_another_cohort_head_and_noise(store):
    results = []
    for seed in (21, 22):
        run = privacy.PrivateRun(PLAN, seed)
        with engine_of('in_process', run, store, 1) as engine:
            results.append(released(engine, run, store))
        results[-1] = results[-1], run
    (one, first), (other, second) = results
    assert not np.array_equal(one.sums[0], other.sums[0])
    assert not np.any(one.weights[1] == other.weights[1])
    assert first.noise_key(0, 0, 0) != second.noise_key(0, 0, 0)
    assert not np.array_equal(first.head_keys(0, 6), second.head_keys(0, 6))
    cohorts = [[users.tolist() for users in run.cohort(0).users] for run in (first, second)]
    assert cohorts[0] != cohorts[1]
    with pytest.raises(AssertionError):
        check_released(one, second)


def no_noise_on_the_last_layer(key, stddev, size):
    drawn = intact_draw(key, stddev, size)
    drawn[-8:] = 0
    return drawn


intact_draw = rounded_gaussian.draw
FAULTS = {
    'noise over m': lambda key, stddev, size: intact_draw(key, stddev / 6, size),
    'constant noise key': lambda key, stddev, size: intact_draw(bytes(32), stddev, size),
    'one layer without noise': no_noise_on_the_last_layer,
    'no noise': lambda key, stddev, size: np.zeros(size, np.int64),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_mutation_of_the_noise(fault, store, monkeypatch):
    run = privacy.PrivateRun(PLAN, 21)
    monkeypatch.setattr(rounded_gaussian, 'draw', FAULTS[fault])
    with engine_of('in_process', run, store, 1) as engine:
        found = released(engine, run, store)
    with pytest.raises(AssertionError):
        check_released(found, run)


def test_mutation_same_noise_in_two_rounds(monkeypatch):
    intact = privacy.PrivateRun.noise_key
    monkeypatch.setattr(
        privacy.PrivateRun, 'noise_key', lambda run, stream, *rest: intact(run, stream)
    )
    with pytest.raises(AssertionError):
        check_noise_of_its_own(privacy.PrivateRun(PLAN, 21))


def check_bounded(found):
    """Fails unless each sum is at most that of as many records of norm C."""
    for total in found.sums:
        assert sum(int(number) ** 2 for number in total) <= (6 * UNITS) ** 2


def test_mutation_clip_skipped(store, monkeypatch):
    run = privacy.PrivateRun(PLAN, 21)
    with engine_of('in_process', run, store, 1) as engine:
        check_bounded(released(engine, run, store))

    def unclipped(grid, record, clip_norm):
        leaves = [leaf * (grid.units / clip_norm) for leaf in tf.nest.flatten(record)]
        whole = [tf.cast(leaf, tf.int64) for leaf in leaves]
        return tf.nest.pack_sequence_as(record, whole), fixed_point.record_norm(record)

    monkeypatch.setattr(fixed_point.Grid, 'clip', unclipped)
    with engine_of('in_process', run, store, 1) as engine:
        found = released(engine, run, store)
    with pytest.raises(AssertionError):
        check_bounded(found)

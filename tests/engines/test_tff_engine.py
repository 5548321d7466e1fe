"""Rounds on TFF's worker: the same as elsewhere, and little crosses."""

import collections
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import connection
from dp_fedemb.engines import in_process
from dp_fedemb.engines import runtime as runtime_lib
from dp_fedemb.engines import tff_engine as engine_lib
from dp_fedemb.learning import client_config
from dp_fedemb.learning import process as process_lib

SHAPE, SEED, ROUNDS = (6, 6, 1), 5, 3
PLAN = privacy.PrivacyPlan(
    num_users=20,
    virtual_clients_per_round=5,
    users_per_virtual_client=2,
    rounds=ROUNDS,
    mechanism=privacy.Gaussian(clip_norm=0.1, noise_multiplier=0.5),
)
RUN = privacy.PrivateRun(PLAN, SEED)
CONFIG = client_config.ClientConfig(batch_size=4)


def build_backbone():
    layers = tf.keras.layers
    return tf.keras.Sequential([tf.keras.Input(SHAPE), layers.Flatten(), layers.Dense(300)])


MODEL = models.EmbeddingModel(build_backbone, SHAPE, 300, models.HEADS['linear']())


@pytest.fixture(scope='module')
def store(tmp_path_factory, write_users):
    return write_users(tmp_path_factory.mktemp('store') / 'users', PLAN.num_users, SHAPE)


@pytest.fixture
def shards(store):
    """Descriptors of every round."""
    return [virtual_clients.assemble(store, RUN, number, 2) for number in range(ROUNDS)]


@pytest.fixture
def options(store):
    return {
        'query': aggregation.build_query(RUN, MODEL.record_specs()),
        'server_optimizer': tff.learning.optimizers.build_sgdm(1.0, 0.9),
        'reader': virtual_clients.build_reader(store),
    }


@pytest.fixture
def engine(tff_runtime, options):
    return engine_lib.TffEngine(tff_runtime, MODEL, CONFIG, num_shards=2, **options)


def leaves(state):
    return [np.asarray(leaf) for leaf in tf.nest.flatten(state)]


def run(engine, shards, change=lambda state: state):
    """The states after each round, `change` applied in between."""
    state, states = engine.initialize(), []
    weights = tff.learning.models.ModelWeights(*MODEL.initial_weights(SEED))
    state = engine.set_model_weights(state, weights)
    for descriptors in shards:
        state = change(engine.next(state, descriptors).state)
        states.append(engine.fetch(state))
    return states


def test_same_as_in_process(engine, options, shards):
    other = in_process.InProcessEngine(MODEL, CONFIG, num_shards=2, **options)
    for found, expected in zip(run(engine, shards), run(other, shards), strict=True):
        tf.nest.assert_same_structure(found, expected)
        for one, two in zip(leaves(found), leaves(expected), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_a_fetched_state_goes_on_in_the_same_way(engine, shards):
    kept, fetched = run(engine, shards), run(engine, shards, change=engine.fetch)
    for one, two in zip(leaves(kept), leaves(fetched), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_round_may_be_run_again(engine, shards):
    # What is kept is not used up, so a profile or a retry begins from the same state.
    state = engine.send(engine.initialize())
    first, second = (engine.fetch(engine.next(state, shards[0]).state) for _ in range(2))
    for one, two in zip(leaves(first), leaves(second), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_round_sends_weights_and_descriptors_and_brings_the_sum(engine, shards, monkeypatch):
    state = engine.next(engine.initialize(), shards[0]).state
    asked = collections.Counter()
    original = connection.Connection._ask

    def counted(self, rpc, request):
        response = original(self, rpc, request)
        asked[type(request).__name__] += 1
        asked['sent'] += request.ByteSize()
        asked['brought'] += response.ByteSize()
        return response

    monkeypatch.setattr(connection.Connection, '_ask', counted)
    engine.next(state, shards[1])
    model_size = 4 * sum(np.size(weight) for weight in MODEL.initial_weights(SEED)[0])
    # Neither the computation again, nor an image, nor the optimizer's momentum.
    assert asked['CreateValueRequest'] == 2
    assert model_size < asked['sent'] < model_size + 6_000
    # Sums are 64-bit integers.
    assert 2 * model_size < asked['brought'] < 2 * model_size + 6_000


def test_the_worker_keeps_nothing_of_rounds_gone_by(options, monkeypatch):
    layers = tf.keras.layers
    build = lambda: tf.keras.Sequential(
        [tf.keras.Input(SHAPE), layers.Flatten(), layers.Dense(8_000)]
    )
    model = models.EmbeddingModel(build, SHAPE, 8_000, models.HEADS['linear']())
    options['query'] = aggregation.build_query(RUN, model.record_specs())
    # Every thread of a large machine would keep some of what it has freed.
    monkeypatch.setenv('MALLOC_ARENA_MAX', '1')
    # A worker of its own: what others have left in one comes and goes.
    with runtime_lib.LocalRuntime(2) as local:
        engine = engine_lib.TffEngine(local, model, CONFIG, num_shards=2, **options)
        state, nobody = engine.initialize(), [virtual_clients.empty_shard()] * 2
        [pid] = local.worker_pids
        resident = {}
        for number in range(1, 41):
            state = engine.next(state, nobody).state
            if number in (10, 40):
                pages = pathlib.Path(f'/proc/{pid}/statm').read_text().split()[1]
                resident[number] = int(pages) * os.sysconf('SC_PAGESIZE') / 2**20
    # The weights are 1.1 MiB, and each of 30 would come with its partial sums.
    assert resident[40] - resident[10] < 15


@pytest.fixture
def graph_options(options):
    """With noise that a process can draw too."""
    in_graph = aggregation.build_query(RUN, MODEL.record_specs(), in_graph=True)
    return options | {'query': in_graph}


@pytest.fixture
def graph_engine(tff_runtime, graph_options):
    return engine_lib.TffEngine(tff_runtime, MODEL, CONFIG, num_shards=2, **graph_options)


def test_same_as_the_learning_process(graph_engine, graph_options, shards):
    """Which TFF's own context runs, its state going to and fro."""
    process = process_lib.build_dp_fedemb(MODEL, CONFIG, **graph_options)
    for found, expected in zip(
        run(graph_engine, shards), run(Called(process), shards), strict=True
    ):
        tf.nest.assert_same_structure(found, expected)
        for one, two in zip(leaves(found), leaves(expected), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


class Called:
    """A process where an engine is expected."""

    def __init__(self, process):
        self.initialize, self.next = process.initialize, process.next
        self.set_model_weights, self.fetch = process.set_model_weights, lambda state: state


def test_an_aggregator_of_ones_own_reads_the_same_store(graph_engine, options, store, shards):
    del options['query']
    process = process_lib.build_dp_fedemb(
        MODEL,
        CONFIG,
        model_aggregator=aggregation.build_aggregation_factory(RUN),
        **options,
    )
    # One TFF client is one record here, so every virtual client is a shard of its own.
    single = [
        virtual_clients.assemble(store, RUN, number, len(RUN.cohort(number).users))
        for number in range(ROUNDS)
    ]
    for found, expected in zip(
        run(Called(process), single), run(graph_engine, shards), strict=True
    ):
        for one, two in zip(
            found.global_model_weights.trainable,
            expected.global_model_weights.trainable,
            strict=True,
        ):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)

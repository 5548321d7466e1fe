"""A round is the same to the last bit on any number of shards, here or on other workers.

Sums of integers do not depend on their order, and noise and server optimizer are the
driver's. TFF's worker is compiled otherwise than TensorFlow's wheel, so a client's
arithmetic differs in the last bits between it and the in-process engine.
"""

import contextlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import in_process
from dp_fedemb.engines import remote_engine
from dp_fedemb.engines import runtime as runtime_lib
from dp_fedemb.engines import tff_engine
from dp_fedemb.engines import worker_process
from dp_fedemb.learning import client_config

SHAPE, ROUNDS = (12, 12, 1), 2
PLAN = privacy.PrivacyPlan(
    num_users=40,
    virtual_clients_per_round=10,
    users_per_virtual_client=2,
    rounds=ROUNDS,
    mechanism=privacy.AdaptiveGaussian(clip_norm=0.1, noise_multiplier=0.5),
)
RUN = privacy.PrivateRun(PLAN, 3)
MODEL = models.build_embedding_model('small_conv', SHAPE, 16)
CONFIG = client_config.ClientConfig(batch_size=4, local_epochs=2, momentum=0.5)
OPTIONS = {
    'query': aggregation.build_query(RUN, MODEL.record_specs()),
    'server_optimizer': tff.learning.optimizers.build_sgdm(1.0, 0.9),
}


@pytest.fixture(scope='module')
def store(tmp_path_factory, write_users):
    return write_users(tmp_path_factory.mktemp('store') / 'users', PLAN.num_users, SHAPE)


def rounds(engine, store):
    """The exact sums of all rounds, and every leaf of the states, flat."""
    state = engine.set_model_weights(
        engine.initialize(), tff.learning.models.ModelWeights(*MODEL.initial_weights(1))
    )
    sums, leaves = [], []
    for round_num in range(ROUNDS):
        shards = virtual_clients.assemble(store, RUN, round_num, engine.num_shards)
        commit = lambda total: (
            sums.append(np.concatenate([part.ravel() for part in total])) or 0
        )
        state = engine.next(state, shards, commit).state
        leaves += [np.ravel(leaf) for leaf in tf.nest.flatten(state)]
    return np.array(sums), np.concatenate([leaf.astype(np.float64) for leaf in leaves])


@contextlib.contextmanager
def workers(count):
    with contextlib.ExitStack() as stack:
        started = [worker_process.WorkerProcess(1) for _ in range(count)]
        for worker in started:
            stack.callback(worker.stop)
            worker.wait_until_listening(240)
        yield [f'localhost:{worker.port}' for worker in started]


def in_process_rounds(store, num_shards):
    reader = virtual_clients.build_reader(store)
    engine = in_process.InProcessEngine(
        MODEL, CONFIG, reader=reader, num_shards=num_shards, **OPTIONS
    )
    return rounds(engine, store)


def tff_rounds(store, num_shards):
    with runtime_lib.LocalRuntime(2) as runtime:
        reader = virtual_clients.build_reader(store)
        engine = tff_engine.TffEngine(
            runtime, MODEL, CONFIG, reader=reader, num_shards=num_shards, **OPTIONS
        )
        return rounds(engine, store)


def remote_rounds(store, num_shards):
    with workers(2) as addresses, remote_engine.RemoteRuntime(addresses) as remote:
        engine = remote_engine.RemoteEngine(
            remote, MODEL, CONFIG, store, num_shards=num_shards, **OPTIONS
        )
        return rounds(engine, store)


@pytest.fixture(scope='module')
def on_the_worker(store):
    """On TFF's worker, in one shard."""
    return tff_rounds(store, 1)


@pytest.fixture(scope='module')
def in_this_process(store):
    return in_process_rounds(store, 1)


def check(found, expected):
    sums, leaves = found
    assert sums.dtype == np.int64 and np.all(np.any(sums, axis=1))
    np.testing.assert_array_equal(sums, expected[0])
    np.testing.assert_array_equal(leaves, expected[1])


@pytest.mark.parametrize('num_shards', [2, 8])
def test_shards_in_process(num_shards, store, in_this_process):
    check(in_process_rounds(store, num_shards), in_this_process)


@pytest.mark.parametrize('num_shards', [2, 8])
def test_shards_on_the_worker_of_tff(num_shards, store, on_the_worker):
    check(tff_rounds(store, num_shards), on_the_worker)


@pytest.mark.parametrize('num_shards', [1, 8])
def test_shards_on_remote_workers(num_shards, store, on_the_worker):
    check(remote_rounds(store, num_shards), on_the_worker)


def test_engines_differ_by_the_clients_float32_alone(on_the_worker, in_this_process):
    (sums, leaves), (other_sums, other_leaves) = on_the_worker, in_this_process
    # A few units of a grid with 2^20 to the clip norm.
    assert np.abs(sums - other_sums).max() < 100
    np.testing.assert_allclose(leaves, other_leaves, atol=1e-5)

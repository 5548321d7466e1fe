"""Which part of a round a second is put down to."""

import pathlib
import types

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb.data import virtual_clients
from dp_fedemb.runs import profiling

FIXED_S, CLIENTS_S, EVALUATION_S = 0.05, 0.8, 0.03


class Clock:
    """Stands still but for who sleeps on it."""

    def __init__(self):
        self.now = 1000.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Engine:
    """Takes a while for any round, and longer for one with users."""

    def __init__(self, clock):
        self.clock = clock
        self.states = []

    def send(self, state):
        return state

    def next(self, state, shards):
        self.states.append(state)
        self.clock.sleep(FIXED_S)
        if virtual_clients.num_examples(shards):
            self.clock.sleep(CLIENTS_S)


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
    path = tmp_path_factory.mktemp('profile')
    with data.UserStoreWriter(path / 'store', (4, 4, 1)) as writer:
        writer.add_user(np.zeros([3, 4, 4, 1], np.uint8), [0, 1, 1])
    store = data.UserStore.open(path / 'store')
    shard = virtual_clients.empty_shard()
    shard.update(
        rows=np.arange(3),
        labels=np.zeros(3, np.int32),
        splits=np.array([0, 3]),
        seeds=np.zeros([1, 2], np.int64),
    )
    clock = Clock()
    engine = Engine(clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profiling, 'time', types.SimpleNamespace(perf_counter=clock.perf_counter))
        seconds = profiling.profile_round(
            engine,
            'state',
            lambda: [shard, virtual_clients.empty_shard()],
            store,
            path,
            {'evaluation': lambda: clock.sleep(EVALUATION_S)},
        )
    return seconds, engine, path


def test_a_round_without_users_tells_the_fixed_cost(measured):
    seconds, _, _ = measured
    assert seconds['transfer, noise and server step'] == pytest.approx(FIXED_S)
    assert seconds['client compute, clip and sum'] == pytest.approx(CLIENTS_S)
    assert seconds['whole round'] == pytest.approx(FIXED_S + CLIENTS_S)
    assert seconds['evaluation'] == pytest.approx(EVALUATION_S)


def test_every_round_starts_from_the_same_state(measured):
    _, engine, _ = measured
    assert set(engine.states) == {'state'}


def test_there_is_a_trace_and_the_table_says_where(measured):
    seconds, _, path = measured
    traces = list(pathlib.Path(path).glob('plugins/profile/*/*.xplane.pb'))
    assert len(traces) == 1 and traces[0].stat().st_size
    table = profiling.table(seconds, path)
    assert str(path) in table
    for name in seconds:
        assert name in table

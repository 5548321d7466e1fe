"""What goes to a worker, as bytes on the wire of a real run: nothing the noise follows from.

The run's driver connects through a proxy that keeps what it sends; the seed, every key that
is made of it and the noise itself are then looked for, in each form that they could have.
"""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import socket
import threading

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb import randomness
from dp_fedemb.aggregation import correlated_noise
from dp_fedemb.aggregation import rounded_gaussian
from dp_fedemb.engines import connection
from dp_fedemb.engines import remote_engine
from dp_fedemb.engines import worker_process
from dp_fedemb.learning import augmentation_config
from dp_fedemb.learning import client_config
from dp_fedemb.learning import shard_work
from dp_fedemb.runs import experiment
from dp_fedemb.runs import settings

SHAPE = (6, 6, 1)
# 128 bits, no byte of which is another one's or nought.
SEED = 0xF1E2D3C4B5A697887F6E5D4C3B2A1908
MECHANISMS = {
    'gaussian': privacy.Gaussian(0.1, 0.5),
    'adaptive_gaussian': privacy.AdaptiveGaussian(0.1, 0.5, clipped_count_stddev=1.0),
    'tree': privacy.Tree(0.1, 0.5, restart_rounds=2),
    'tree_adaptive': privacy.TreeAdaptive(0.1, 0.5, restart_rounds=2, clipped_count_stddev=1.0),
    'banded': privacy.Banded(0.1, 0.5, strategy_momentum=0.9, bands=2),
    'bisr': privacy.Bisr(0.1, 0.5, strategy_momentum=0.9, draws=2),
    'blt': privacy.Blt(0.1, 0.5, strategy_momentum=0.9, buffers=2),
}
_HTTP2_PREFACE = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'


def build_backbone():
    layers = tf.keras.layers
    return tf.keras.Sequential([tf.keras.Input(SHAPE), layers.Flatten(), layers.Dense(8)])


MODEL = models.EmbeddingModel(build_backbone, SHAPE, 8, models.HEADS['linear']())


class Wire:
    """Proxies before workers, and what drivers send through them."""

    def __init__(self):
        self._streams = []

    def through(self, address):
        """Returns the address of a proxy before a worker's."""
        listener = socket.create_server(('localhost', 0))
        threading.Thread(target=self._listen, args=[listener, address], daemon=True).start()
        return f'localhost:{listener.getsockname()[1]}'

    def _listen(self, listener, address):
        while True:
            driver, _ = listener.accept()
            if address.startswith('unix:'):
                worker = socket.socket(socket.AF_UNIX)
                worker.connect(address.removeprefix('unix:'))
            else:
                host, port = address.split(':')
                worker = socket.create_connection((host, int(port)))
            self._streams.append(bytearray())
            for pair in ((driver, worker, self._streams[-1]), (worker, driver, None)):
                threading.Thread(target=_pass_on, args=pair, daemon=True).start()

    @property
    def sent(self):
        """All of it: as it was, and the messages without the frames around their parts."""
        raw = [bytes(stream) for stream in self._streams]
        return b''.join([*raw, *itertools.chain.from_iterable(map(_messages, raw))])


def _pass_on(source, target, kept):
    with contextlib.suppress(OSError):
        while part := source.recv(1 << 16):
            if kept is not None:
                kept += part
            target.sendall(part)
    for side in (source, target):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


def _messages(stream):
    """The data of each of a connection's HTTP/2 streams, in one piece.

    What is still being sent may end anywhere.
    """
    assert stream[: len(_HTTP2_PREFACE)] == _HTTP2_PREFACE[: len(stream)]
    found, place = {}, len(_HTTP2_PREFACE)
    while place + 9 <= len(stream):
        size, kind = int.from_bytes(stream[place : place + 3], 'big'), stream[place + 3]
        number = stream[place + 5 : place + 9]
        if kind == 0:
            found.setdefault(number, bytearray()).extend(stream[place + 9 : place + 9 + size])
        place += 9 + size
    return map(bytes, found.values())


@dataclasses.dataclass
class Secrets:
    """What no worker may know, as it is made."""

    keys: dict
    noises: list

    def found_in(self, sent):
        """Returns which of them are in what was sent."""
        found = {form for form, needle in _forms_of_seed() if needle in sent}
        for purpose, key in self.keys.items():
            if any(needle in sent for needle in _forms_of_key(key)):
                found.add(purpose[0])
        offsets = np.cumsum([0, *(spec.shape.num_elements() for spec in MODEL.record_specs())])
        for noise, start in itertools.product(self.noises, offsets):
            first = noise[start : start + 8]
            if len(first) == 8 and any(
                first.astype(kind).tobytes() in sent for kind in ('i8', 'i4', 'f4', 'f8')
            ):
                found.add('noise')
        return found


def _forms_of_seed():
    text = str(SEED)
    yield 'seed in decimal', text.encode()
    yield 'seed in hex', f'{SEED:x}'.encode()
    yield 'seed in hex', f'{SEED:X}'.encode()
    for order in ('little', 'big'):
        octets = SEED.to_bytes(16, order)
        yield 'seed in bytes', octets[:8]
        yield 'seed in bytes', octets[8:]
    for half in (SEED % 2**64, SEED >> 64):
        yield 'seed in a message', _varint(half)


def _forms_of_key(key):
    yield key.hex().encode()
    yield str(int.from_bytes(key, 'little')).encode()
    yield str(int.from_bytes(key, 'big')).encode()
    # A constant of one number is written as a varint, one of several as bytes.
    for word in np.frombuffer(key, np.uint64):
        yield word.tobytes()
        yield word.tobytes()[::-1]
        yield _varint(int(word))


def _varint(number):
    octets = []
    while number >= 128:
        octets.append(number % 128 + 128)
        number //= 128
    return bytes([*octets, number])


@pytest.fixture
def secrets(monkeypatch):
    found = Secrets({}, [])
    make_key = randomness.key

    def key(seed, purpose, *indices):
        made = make_key(seed, purpose, *indices)
        if seed == SEED:
            found.keys[purpose, indices] = made
        return made

    def kept(draw):
        def drawn(*arguments):
            found.noises.append(draw(*arguments))
            return found.noises[-1]

        return drawn

    monkeypatch.setattr(randomness, 'key', key)
    monkeypatch.setattr(rounded_gaussian, 'draw', kept(rounded_gaussian.draw))
    made = correlated_noise.CorrelatedNoise
    monkeypatch.setattr(made, 'noise', kept(made.noise))
    return found


@pytest.fixture
def wire(monkeypatch):
    """What is sent, and what the processes of workers of this driver are given, in `told`."""
    wire = Wire()
    wire.told = b''
    connect = connection.Connection.__init__

    def through(self, address, timeout_s, process=None):
        connect(self, wire.through(address), timeout_s, process)
        if process is not None:
            wire.told += _told(process.pid)

    monkeypatch.setattr(connection.Connection, '__init__', through)
    return wire


def _told(pid):
    """Arguments and environment of a process and of those that it has started."""
    folder = pathlib.Path('/proc') / str(pid)
    children = (folder / 'task' / str(pid) / 'children').read_text().split()
    own = (folder / 'cmdline').read_bytes() + (folder / 'environ').read_bytes()
    return b'\0'.join([own, *map(_told, children)])


@pytest.fixture(scope='module')
def store(tmp_path_factory, write_users):
    return write_users(tmp_path_factory.mktemp('store') / 'users', 24, SHAPE)


@pytest.fixture(scope='module')
def worker():
    worker = worker_process.WorkerProcess(1)
    worker.wait_until_listening(240)
    yield f'localhost:{worker.port}'
    worker.stop()


def train(store, path, mechanism, **options):
    sampling = privacy.Poisson()
    if not mechanism.independent_rounds:
        sampling = privacy.MinSeparation()
    run = experiment.Experiment(
        MODEL,
        privacy.PrivacyPlan(store.num_users, 4, 2, 3, mechanism, sampling),
        settings.Settings(
            client_config.ClientConfig(
                batch_size=4, augmentation=augmentation_config.parse('glyph')
            ),
            settings.TrainingSchedule(3, 0, 3),
            client_parallelism=1,
            **options,
        ),
        store,
        None,
        # Where a seed is for one run alone.
        in_ledger=False,
    )
    run.run(path, SEED)


def check_sent(wire, secrets):
    """Fails unless heads' keys went, which is meant, and nothing else of the seed did."""
    sent = wire.sent
    run = privacy.PrivateRun(privacy.PrivacyPlan(24, 4, 2, 3, MECHANISMS['gaussian']), SEED)
    for round_num in range(3):
        assert any(key.tobytes() in sent for key in run.head_keys(round_num, 4))
    purposes = {purpose for purpose, _ in secrets.keys}
    assert {'virtual_clients', 'noise/key'} < purposes and len(purposes) > 3
    assert len(secrets.noises) >= 3
    assert secrets.found_in(sent + wire.told) == set()


def each_mechanism(default):
    """All of them are for soaks, but for one."""
    marks = {name: () if name == default else pytest.mark.soak for name in MECHANISMS}
    return pytest.mark.parametrize(
        'mechanism', [pytest.param(name, marks=mark) for name, mark in marks.items()]
    )


@each_mechanism('adaptive_gaussian')
def test_of_this_host(mechanism, store, wire, secrets, tmp_path):
    train(store, tmp_path / 'run', MECHANISMS[mechanism], engine='tff')
    assert b'worker_binary' in wire.told and b'worker_relay' in wire.told
    check_sent(wire, secrets)


@each_mechanism('banded')
def test_of_other_hosts(mechanism, store, worker, wire, secrets, tmp_path):
    train(store, tmp_path / 'run', MECHANISMS[mechanism], workers=(worker,))
    check_sent(wire, secrets)


def test_what_leaks_is_found(store, worker, wire, secrets, tmp_path, monkeypatch):
    """Each leak that is planted, by its name: in tensors, in a graph, on the command line."""
    intact_sum, intact_run = remote_engine.RemoteEngine._sum, shard_work.ShardWork._run
    graph_key = np.frombuffer(randomness.key(SEED, 'in the graph'), np.int64)

    def leaking_sum(engine, *arguments):
        executor = engine._remote.workers[0].executor
        halves = np.array([SEED % 2**64, SEED >> 64], np.uint64)
        executor.create_tensors([halves.view(np.int64), np.array(str(SEED).encode())])
        noise_keys = [key for name, key in secrets.keys.items() if name[0] == 'noise/key']
        executor.create_tensors([np.frombuffer(key, np.float32) for key in noise_keys])
        executor.create_tensors([noise.astype(np.float32) for noise in secrets.noises])
        return intact_sum(engine, *arguments)

    def leaking_run(work, weights, params, rate, shard):
        # With an input, else TFF folds it away.
        mixed = tf.constant(graph_key[1]) + tf.cast(rate, tf.int64)
        rate += 1e-30 * tf.cast(mixed, tf.float32)
        return intact_run(work, weights, params, rate, shard)

    monkeypatch.setattr(remote_engine.RemoteEngine, '_sum', leaking_sum)
    monkeypatch.setattr(shard_work.ShardWork, '_run', leaking_run)
    train(store, tmp_path / 'run', MECHANISMS['gaussian'], workers=(worker,))
    assert secrets.found_in(wire.sent) == {
        'seed in bytes',
        'seed in decimal',
        'noise/key',
        'in the graph',
        'noise',
    }
    with monkeypatch.context() as patched:
        patched.setitem(os.environ, 'DP_FEDEMB_SEED', f'{SEED:x}')
        leaky = worker_process.WorkerProcess(1)
        leaky.wait_until_listening(240)
    assert secrets.found_in(_told(leaky.pid)) == {'seed in hex'}
    leaky.stop()

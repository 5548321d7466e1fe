"""Rounds on workers of `bin/worker.py`, which are killed, stopped and cut off for real."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.data import store as store_lib
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import in_process
from dp_fedemb.engines import remote_engine
from dp_fedemb.engines import remote_worker
from dp_fedemb.engines import worker_process
from dp_fedemb.learning import client_config
from dp_fedemb.models import heads

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SHAPE = (6, 6, 1)
_SEED = 11
_CONFIG = client_config.ClientConfig(batch_size=4, local_epochs=2)


def build_backbone():
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [tf.keras.Input(_SHAPE), layers.Flatten(), layers.Dense(8)], name='tiny'
    )


_MODEL = models.EmbeddingModel(build_backbone, _SHAPE, 8, heads.HEADS['linear']())
_PLAN = privacy.PrivacyPlan(
    num_users=30,
    virtual_clients_per_round=6,
    users_per_virtual_client=2,
    rounds=3,
    mechanism=privacy.Gaussian(clip_norm=0.1, noise_multiplier=0.5),
)


def options():
    return {
        'query': aggregation.build_query(
            privacy.PrivateRun(_PLAN, _SEED), _MODEL.record_specs()
        ),
        'server_optimizer': tff.learning.optimizers.build_sgdm(1.0, 0.9),
    }


def shards_of(store, round_num, count):
    run = privacy.PrivateRun(_PLAN, _SEED)
    return virtual_clients.assemble(store, run, round_num, count)


@pytest.fixture(scope='module')
def store(tmp_path_factory, write_users):
    return write_users(tmp_path_factory.mktemp('store') / 'users', _PLAN.num_users, _SHAPE)


@pytest.fixture
def worker_pair():
    workers = [worker_process.WorkerProcess(1) for _ in range(2)]
    for worker in workers:
        worker.wait_until_listening(240)
    yield workers
    for worker in workers:
        worker.stop()


def address(worker):
    return f'localhost:{worker.port}'


def connected(workers):
    return remote_engine.RemoteRuntime([address(worker) for worker in workers])


def be_impatient(workers):
    """With those that will not answer; the others may be as slow as the machine is."""
    for worker in workers:
        worker._timeout_s = 1.5


def flat(output):
    return [np.asarray(leaf) for leaf in tf.nest.flatten((output.state, output.metrics))]


@pytest.fixture(scope='module')
def undisturbed(store):
    """Two rounds on two workers: start state, shards and outputs of both."""
    workers = [worker_process.WorkerProcess(1) for _ in range(2)]
    for worker in workers:
        worker.wait_until_listening(240)
    with connected(workers) as remote:
        assert remote.client_parallelism == 2
        engine = remote_engine.RemoteEngine(remote, _MODEL, _CONFIG, store, **options())
        start = state = engine.initialize()
        outputs = []
        for round_num in range(2):
            output = engine.next(state, shards_of(store, round_num, 2))
            state = output.state
            outputs.append(output)
    for worker in workers:
        worker.stop()
    return start, outputs


def test_same_as_in_process(store, undisturbed):
    start, outputs = undisturbed
    engine = in_process.InProcessEngine(
        _MODEL,
        _CONFIG,
        reader=virtual_clients.build_reader(store),
        num_shards=2,
        **options(),
    )
    state = start
    for round_num, output in enumerate(outputs):
        expected = engine.next(state, shards_of(store, round_num, 2))
        for found, wanted in zip(flat(output), flat(expected)):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
        state = expected.state


def replaced(worker):
    """One that knows nothing of what was sent, at once and in the same place."""
    worker.stop()
    anew = worker_process.WorkerProcess(1, port=worker.port)
    anew.wait_until_listening(240)
    return anew


@pytest.mark.parametrize(
    'disturb, word',
    [
        # A process that was killed closes its connection, a stopped one keeps it open.
        (lambda worker: os.kill(worker.pid, signal.SIGKILL), 'UNAVAILABLE'),
        (lambda worker: None, 'did not answer for 1.5 s'),
        (replaced, 'was lost'),
    ],
    ids=['killed', 'silent', 'replaced'],
)
def test_round_is_finished_by_the_others(
    disturb, word, store, worker_pair, undisturbed, caplog
):
    start, outputs = undisturbed
    bad, good = worker_pair
    with connected(worker_pair) as remote:
        be_impatient(remote.workers[:1])
        engine = remote_engine.RemoteEngine(remote, _MODEL, _CONFIG, store, **options())
        # Stopped, so that its shard is certainly not done when it is killed.
        os.kill(bad.pid, signal.SIGSTOP)
        found = []
        shards = shards_of(store, 0, 2)
        thread = threading.Thread(target=lambda: found.append(engine.next(start, shards)))
        thread.start()
        time.sleep(0.3)
        assert thread.is_alive()
        other = disturb(bad)
        thread.join(240)
        # The next round does without it from the start.
        found.append(engine.next(found[0].state, shards_of(store, 1, 2)))
        assert remote.workers[1].lost is None and word in remote.workers[0].lost
    if other is not None:
        other.stop()
    for output, expected in zip(found, outputs):
        for leaf, wanted in zip(flat(output), flat(expected)):
            # To the last bit: shards, and the order in which they are added, are the same.
            np.testing.assert_array_equal(leaf, wanted)
    assert f'worker {address(bad)} ' in caplog.text and good.poll() is None


def test_nobody_left(store, worker_pair, undisturbed):
    start, _ = undisturbed
    with connected(worker_pair) as remote:
        be_impatient(remote.workers)
        engine = remote_engine.RemoteEngine(remote, _MODEL, _CONFIG, store, **options())
        os.kill(worker_pair[0].pid, signal.SIGKILL)
        os.kill(worker_pair[1].pid, signal.SIGSTOP)
        with pytest.raises(RuntimeError, match='no worker is left to finish') as error:
            engine.next(start, shards_of(store, 0, 2))
    for worker in worker_pair:
        assert f'worker {address(worker)} ' in str(error.value)


def test_error_of_a_computation_names_the_worker(worker_pair):
    @tff.tensorflow.computation
    def fail():
        return (tf.io.read_file('/no/such/file'),)

    with connected(worker_pair) as remote:
        worker = remote.workers[0]
        with pytest.raises(RuntimeError, match=f'worker {worker.address}: .*/no/such/file'):
            worker.executor.call(worker.executor.create_function(fail), [])
        assert worker.lost is None


def test_all_that_do_not_answer_are_named(worker_pair, monkeypatch):
    connect = remote_worker.RemoteWorker.connect

    def patiently(worker):
        if worker.address == address(worker_pair[0]):
            worker._timeout_s = 240.0
        connect(worker)

    monkeypatch.setattr(remote_worker.RemoteWorker, 'connect', patiently)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(60)]
        for index, sock in enumerate(sockets):
            sock.bind(('localhost', 0))
            if index:
                sock.listen()
        names = [f'localhost:{sock.getsockname()[1]}' for sock in sockets]
        begin = time.monotonic()
        with pytest.raises(RuntimeError) as error:
            remote_worker.connect_all([address(worker_pair[0]), *names], 1.0)
        # All at the same time: one by one they would take 60 s.
        assert time.monotonic() - begin < 50
    for name in names:
        assert f'worker {name} did not answer within 1 s' in str(error.value)
    assert address(worker_pair[0]) not in str(error.value)


def test_other_version_is_refused(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(worker_process, 'tff_version', lambda: '0.86.0')
        worker = worker_process.WorkerProcess(1)
    try:
        worker.wait_until_listening(240)
        with pytest.raises(
            ValueError, match=f'{address(worker)} runs TFF 0.86.0, the driver 0.87'
        ):
            remote_worker.connect_all([address(worker)], 240.0)
    finally:
        worker.stop()


def test_bare_worker_is_refused(process_checks):
    port = process_checks.free_port()
    process = subprocess.Popen(
        [str(worker_process.worker_binary()), f'--port={port}'],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with pytest.raises(ValueError, match='does not say its version; start it with bin/wor'):
            remote_worker.connect_all([f'localhost:{port}'], 240.0)
    finally:
        process.kill()
        process.wait()


def test_addresses(worker_pair):
    with pytest.raises(ValueError, match="'alone': expected host:port"):
        remote_worker.connect_all(['alone'], 1.0)
    for addresses in ([], ['a:1', 'a:1']):
        with pytest.raises(ValueError, match='expected different host:port'):
            remote_worker.connect_all(addresses, 1.0)


def test_store_that_a_worker_lacks_or_has_otherwise(store, worker_pair, tmp_path):
    path = tmp_path / 'users'
    shutil.copytree(store.path, path)
    copy = store_lib.UserStore.open(path)
    with connected(worker_pair) as remote:
        remote.check_store(copy)
        # The driver keeps its map of the file that was there before.
        copy.examples_path.rename(tmp_path / 'away')
        with pytest.raises(ValueError) as error:
            remote.check_store(copy)
        for worker in worker_pair:
            assert f'worker {address(worker)} cannot read {copy.examples_path}' in str(
                error.value
            )
        # One bit of one image.
        content = bytearray(np.asarray(store.examples).tobytes())
        content[len(content) // 2 + 1] ^= 1
        copy.examples_path.write_bytes(content)
        with pytest.raises(ValueError, match='has another .* than the driver: copy the store'):
            remote.check_store(copy)


def run_ip(*words):
    return subprocess.run(['ip', *words], capture_output=True, text=True)


@pytest.fixture
def other_host():
    """A network namespace with an address of its own: (name, address, its cable)."""
    name, cable = f'fedemb{os.getpid()}', f'fe{os.getpid()}'
    if shutil.which('ip') is None or run_ip('netns', 'add', name).returncode != 0:
        pytest.skip('needs iproute2 and the right to make network namespaces')
    commands = (
        f'link add {cable} type veth peer name far netns {name}',
        f'addr add 198.18.97.1/30 dev {cable}',
        f'link set {cable} up',
        f'-n {name} addr add 198.18.97.2/30 dev far',
        f'-n {name} link set far up',
        f'-n {name} link set lo up',
    )
    try:
        for command in commands:
            done = run_ip(*command.split())
            if done.returncode != 0:
                pytest.skip(f'ip {command}: {done.stderr}')
        yield name, '198.18.97.2', cable
    finally:
        run_ip('link', 'delete', cable)
        run_ip('netns', 'delete', name)


def test_cable_is_cut(store, worker_pair, undisturbed, other_host, process_checks):
    start, outputs = undisturbed
    namespace, host, cable = other_host
    command = [
        'ip',
        'netns',
        'exec',
        namespace,
        sys.executable,
        _ROOT / 'bin/worker.py',
        '--cores=1',
    ]
    with process_checks.running(command) as program:
        program.wait_for_line('is ready')
        addresses = [f'{host}:8470', address(worker_pair[0])]
        with remote_engine.RemoteRuntime(addresses) as remote:
            be_impatient(remote.workers[:1])
            engine = remote_engine.RemoteEngine(remote, _MODEL, _CONFIG, store, **options())
            output = engine.next(start, shards_of(store, 0, 2))
            assert remote.workers[0].lost is None
            run_ip('link', 'set', cable, 'down')
            second = engine.next(output.state, shards_of(store, 1, 2))
            assert remote.workers[0].lost and remote.workers[1].lost is None
    for found, expected in zip(flat(second), flat(outputs[1])):
        np.testing.assert_array_equal(found, expected)

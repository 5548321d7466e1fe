"""Workers that only their user can reach, and that keep nothing of drivers that are gone."""

from concurrent import futures
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import types

import grpc
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb.engines import connection
from dp_fedemb.engines import remote_engine
from dp_fedemb.engines import remote_worker
from dp_fedemb.engines import runtime
from dp_fedemb.engines import worker_addresses
from dp_fedemb.engines import worker_process

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_RUNTIME_DRIVER = [sys.executable, pathlib.Path(__file__).with_name('runtime_driver.py')]
_WORKER = [sys.executable, _ROOT / 'bin/worker.py', '--cores=1']
needs_isolation = pytest.mark.skipif(
    worker_process.why_not_isolated() is not None, reason='no network namespaces here'
)


@tff.tensorflow.computation(np.int64)
def spin(steps):
    return tf.while_loop(lambda i: i < steps, lambda i: i + 1, [tf.constant(0, tf.int64)])[0]


def listening_ports(pid='self'):
    """TCP ports that somebody listens on in the network of a process."""
    ports = set()
    for table in ('tcp', 'tcp6'):
        for line in pathlib.Path(f'/proc/{pid}/net/{table}').read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == '0A':
                ports.add(int(fields[1].rpartition(':')[2], 16))
    return ports


@needs_isolation
def test_the_local_worker_has_a_network_of_its_own(monkeypatch, short_folder):
    monkeypatch.setattr('tempfile.tempdir', str(short_folder))
    with runtime.LocalRuntime(1) as local:
        assert spin(3) == 3
        [pid] = local.worker_pids
        assert os.readlink(f'/proc/{pid}/ns/net') != os.readlink('/proc/self/ns/net')
        # It listens there, where nobody else is.
        assert listening_ports(pid) == {worker_process._INNER_PORT}
        interfaces = pathlib.Path(f'/proc/{pid}/net/dev').read_text().splitlines()[2:]
        assert [line.split(':')[0].strip() for line in interfaces] == ['lo']
        [folder] = short_folder.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / 'socket').stat().st_mode) == 0o600
    assert list(short_folder.iterdir()) == []


@needs_isolation
def test_nothing_is_left_of_a_driver_that_is_killed(process_checks, short_folder):
    command = [*_RUNTIME_DRIVER, 'busy']
    with process_checks.running(command, TMPDIR=str(short_folder)) as program:
        program.wait_for_line('sum 3')
        assert len(list(short_folder.glob('dp_fedemb-worker-*'))) == 1
        program.process.send_signal(signal.SIGKILL)
        program.output()
        gone = lambda: (
            not program.workers() and not list(short_folder.glob('dp_fedemb-worker-*'))
        )
        assert process_checks.wait_until(gone)


def test_where_the_machine_does_not_allow_it_the_run_says_so_loudly(monkeypatch, caplog):
    monkeypatch.setattr(worker_process, 'why_not_isolated', lambda: '[Errno 1] unshare')
    with caplog.at_level('WARNING', 'absl'), runtime.LocalRuntime(1) as local:
        assert spin(3) == 3
        assert len(local.worker_pids) == 1
    assert 'CAN BE REACHED FROM OUTSIDE' in caplog.text and '[Errno 1] unshare' in caplog.text


def test_a_machine_that_forbids_namespaces_is_known_for_one():
    # A user namespace whose limit of networks is zero stands for such a machine.
    forbid = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    machine = ['unshare', '--user', '--map-root-user', 'sh', '-c', forbid, 'sh']
    if not shutil.which('unshare') or subprocess.run([*machine, 'true']).returncode:
        pytest.skip('no user namespaces here')
    ask = (
        'from dp_fedemb.engines import worker_process;'
        'print("reason:", worker_process.why_not_isolated())'
    )
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(_ROOT), os.environ['PYTHONPATH']]),
    }
    done = subprocess.run(
        [*machine, sys.executable, '-c', ask], capture_output=True, text=True, env=environment
    )
    assert 'reason: [Errno 28] unshare' in done.stdout, done.stderr


def test_a_local_worker_that_is_stopped_is_named_in_time():
    with runtime.LocalRuntime(1) as local:
        assert spin(3) == 3
        # From here on, so that a busy machine has time to start it.
        local._connection._timeout_s = 1.5
        threading.Timer(0.3, os.kill, [local.worker_pids[0], signal.SIGSTOP]).start()
        begin = time.monotonic()
        with pytest.raises(RuntimeError, match='did not answer for 1.5 s'):
            spin(10**12)
        assert time.monotonic() - begin < 60


@pytest.fixture
def own_socket(process_checks, short_folder):
    """A worker program behind a socket: (program, path)."""
    if worker_process.why_not_isolated() is not None:
        pytest.skip('no network namespaces here')
    path = short_folder / 'worker.sock'
    with process_checks.running([*_WORKER, f'--socket={path}']) as program:
        program.wait_for_line(f'is ready: unix:{path}')
        yield program, path


@tff.tensorflow.computation
def thousand():
    return (tf.ones([1000, 1000]),)


def test_the_worker_program_behind_a_socket(own_socket, process_checks):
    program, path = own_socket
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    if os.getuid() == 0 and shutil.which('setpriv'):
        path.parent.chmod(0o755)
        other = ['setpriv', '--reuid=65534', '--clear-groups', '/usr/bin/env', 'python3', '-c']
        connect = f'import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})'
        done = subprocess.run([*other, connect], capture_output=True, text=True)
        assert done.returncode != 0
    before = len(program.workers())
    [first] = {int(pid) for pid in pids_of_binary(program)}
    with remote_engine.RemoteRuntime([f'unix:{path}']) as one:
        with remote_engine.RemoteRuntime([f'unix:{path}']) as two:
            for remote in (one, two):
                executor = remote.workers[0].executor
                assert executor.call(executor.create_function(thousand), [])[0].shape
        # One of two has left: the other's worker stays.
        time.sleep(1)
        assert pids_of_binary(program) == {first}
        held = handles_and_threads(program)
        send_garbage(path, 100)
        until = time.monotonic() + 120
        while any(now > one for now, one in zip(handles_and_threads(program), held)):
            assert time.monotonic() < until, (held, handles_and_threads(program))
            time.sleep(0.1)
        assert pids_of_binary(program) == {first}
        executor = one.workers[0].executor
        assert executor.call(executor.create_function(thousand), [])[0].shape
    # Both have: a new one, that knows nothing of them.
    program.wait_for_line('is ready')
    assert pids_of_binary(program) != {first} and len(program.workers()) == before
    # And a driver that is killed is no different.
    [second] = pids_of_binary(program)
    crash = (
        'import os, sys; from dp_fedemb.engines import remote_engine\n'
        f'remote = remote_engine.RemoteRuntime(["unix:{path}"]).__enter__()\n'
        'os._exit(9)'
    )
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(_ROOT), os.environ['PYTHONPATH']]),
    }
    assert subprocess.run([sys.executable, '-c', crash], env=environment).returncode == 9
    program.wait_for_line('is ready')
    assert pids_of_binary(program) != {second}


def send_garbage(path, times):
    """What anybody may send who is no driver: nothing, garbage, half of a greeting."""
    for number in range(times):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            # It may be shown the door at once.
            with contextlib.suppress(OSError):
                client.sendall([b'', bytes(range(256)) * 64, b'PRI * HTTP/2.0\r\n'][number % 3])


def handles_and_threads(program):
    folders = [pathlib.Path('/proc', str(pid)) for pid in program.workers()]
    return [
        sum(len(os.listdir(folder / name)) for folder in folders) for name in ('fd', 'task')
    ]


def pids_of_binary(program):
    found = set()
    for pid in program.workers():
        try:
            line = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()
        except OSError:
            # One that has ended meanwhile.
            continue
        if pathlib.Path(os.fsdecode(line.split(b'\0')[0])).name == 'worker_binary':
            found.add(pid)
    return found


def test_a_socket_of_the_dead_is_made_anew_and_one_of_the_living_refused(
    tmp_path, short_folder
):
    path = str(short_folder / 'socket')
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with worker_addresses.path_listener(path):
        with pytest.raises(ValueError, match='Address already in use'):
            worker_addresses.path_listener(path)
    (short_folder / 'file').write_text('not a socket')
    with pytest.raises(ValueError, match='choose another path'):
        worker_addresses.path_listener(str(short_folder / 'file'))
    with pytest.raises(ValueError, match='Not a directory; choose another path'):
        worker_addresses.path_listener(str(short_folder / 'file' / 'socket'))
    with pytest.raises(ValueError, match='choose another path'):
        worker_addresses.path_listener(str(tmp_path / ('long' * 40)))
    assert (short_folder / 'file').read_text() == 'not a socket'


@pytest.mark.parametrize(
    'answer',
    [b'', b'HTTP/1.1 400 Bad Request\r\n\r\n', bytes(range(256))],
    ids=['nothing', 'HTTP/1.1', 'garbage'],
)
def test_something_else_on_the_port_is_named_in_time(answer):
    with socket.create_server(('localhost', 0)) as other:

        def serve():
            while True:
                try:
                    client, _ = other.accept()
                except OSError:
                    return
                with client:
                    client.sendall(answer)
                    time.sleep(0.2)

        threading.Thread(target=serve, daemon=True).start()
        address = f'localhost:{other.getsockname()[1]}'
        begin = time.monotonic()
        with pytest.raises(RuntimeError, match=f'worker {address} did not answer within 1.5 s'):
            remote_worker.connect_all([address], 1.5)
        assert time.monotonic() - begin < 60
        other.shutdown(socket.SHUT_RDWR)


def test_another_service_of_grpc_is_named_in_time():
    released = threading.Event()

    class Mute(grpc.GenericRpcHandler):
        def service(self, details):
            wait = lambda request, context: released.wait()
            return grpc.unary_unary_rpc_method_handler(wait)

    for handlers, timeout_s, kind, words in (
        # Whoever answers may take its time.
        ([], 240.0, ValueError, 'start it with bin/worker.py'),
        ([Mute()], 3.0, RuntimeError, 'was lost .DEADLINE_EXCEEDED'),
    ):
        server = grpc.server(futures.ThreadPoolExecutor(1), handlers)
        address = f'localhost:{server.add_insecure_port("localhost:0")}'
        server.start()
        begin = time.monotonic()
        with pytest.raises(kind, match=f'worker {address}.*{words}'):
            remote_worker.connect_all([address], timeout_s)
        assert time.monotonic() - begin < 60
        released.set()
        server.stop(0)


def test_what_stands_at_a_silent_address_is_said(short_folder):
    with socket.socket() as closed:
        closed.bind(('localhost', 0))
        port = closed.getsockname()[1]
        with socket.create_server(('localhost', 0)) as other:
            cases = {
                'no-such-host.invalid:8470': 'its name is not known here',
                f'localhost:{port}': 'nobody can be reached there: Connection refused',
                f'[::1]:{port}': 'nobody can be reached there',
                f'unix:{short_folder}/none': 'nobody can be reached there: No such file',
                f'localhost:{other.getsockname()[1]}': 'what listens there is no worker',
            }
            with pytest.raises(RuntimeError) as error:
                remote_worker.connect_all(list(cases), 0.5)
    for address, words in cases.items():
        assert f'worker {address} did not answer within 0.5 s ({words}' in str(error.value)


class Timeout(grpc.RpcError):
    def code(self):
        return grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize('late, lost', [(0.0, True), (2.0, False)])
def test_a_driver_that_was_stopped_blames_no_worker(monkeypatch, late, lost):
    # On a clock that stands still while nobody asks.
    now, questions = [0.0], []
    clock = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(connection, 'time', clock)
    asked = connection.Connection('localhost:1', 5.0)

    def dispose(request, timeout):
        questions.append(timeout)
        now[0] += timeout + (late if len(questions) == 1 else 0.0)
        if len(questions) == 1:
            raise Timeout()
        asked.close()

    asked._stub = types.SimpleNamespace(DisposeExecutor=dispose)
    monkeypatch.setattr(connection, '_PROBE_INTERVAL_S', 0.01)
    asked._watch()
    assert (asked.lost == 'did not answer for 5 s') == lost and len(questions) == 2 - lost


def test_addresses():
    with pytest.raises(ValueError, match=r'write \[::1\]:8470'):
        remote_worker.connect_all(['::1:8470'], 1)
    for address in ('worker', 'unix:worker', ':8470', 'host:'):
        with pytest.raises(ValueError, match='expected host:port, or unix:/path'):
            remote_worker.connect_all([address], 1)

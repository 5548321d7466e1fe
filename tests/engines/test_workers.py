"""No worker outlives its driver, and no two share a port."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from dp_fedemb.engines import worker_process
from dp_fedemb.runs import signals

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_DRIVER = [sys.executable, _ROOT / 'tests/engines/worker_driver.py']
_WORKER = [sys.executable, _ROOT / 'bin/worker.py', '--cores=1']


@pytest.fixture
def worker():
    process = worker_process.WorkerProcess(1)
    process.wait_until_listening(240)
    yield process
    process.stop()


@pytest.mark.parametrize(
    'way, code', [('normal', 0), ('exception', 1), ('sys.exit', 3), ('busy thread', 0)]
)
def test_driver_that_ends_by_itself(process_checks, way, code):
    returned, text = process_checks.check_nothing_left([*_DRIVER, way], ready='ready')
    assert returned == code and 'finally' in text


def test_driver_that_forgets_its_worker(process_checks):
    returned, _ = process_checks.check_nothing_left([*_DRIVER, 'forgotten'], ready='ready')
    assert returned == 0


@pytest.mark.parametrize(
    'ending, code',
    [('SIGINT', 130), ('SIGINT to the group', 130), ('SIGTERM', 143), ('SIGHUP', 129)],
)
def test_driver_that_is_told_to_stop(process_checks, ending, code):
    returned, text = process_checks.check_nothing_left(
        [*_DRIVER, 'wait'], ending, ready='ready'
    )
    # What has to be saved is saved; no trace.
    assert returned == code and text.split() == ['finally']


def test_driver_that_is_killed(process_checks):
    returned, text = process_checks.check_nothing_left(
        [*_DRIVER, 'wait'], 'SIGKILL', ready='ready'
    )
    assert returned == -signal.SIGKILL and 'finally' not in text


def test_driver_that_is_killed_during_start_up(process_checks):
    with process_checks.running([*_DRIVER, 'killed during start-up']) as program:
        program.output()
        assert program.process.returncode == -signal.SIGKILL
        assert process_checks.wait_until(lambda: not program.workers())


def test_guard_refuses_when_the_parent_is_gone():
    guard = _ROOT / 'dp_fedemb/engines/worker_guard.py'
    command = [sys.executable, '-I', '-S', guard, str(os.getpid() + 1), '/bin/echo', 'started']
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1 and 'parent is gone' in done.stderr and not done.stdout


def test_second_signal_is_final():
    with pytest.raises(signals.Stopped) as stopped, signals.end_cleanly():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    assert stopped.value.code == 143 and str(stopped.value) == 'stopped by SIGTERM'
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with signals.end_cleanly():
        assert signal.getsignal(signal.SIGINT) != signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.end_cleanly():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_port_is_kept_for_one_worker(worker):
    # A worker would share it with another one and the kernel deal out connections.
    with pytest.raises(ValueError, match=f'port={worker.port}: Address already in use'):
        worker_process.WorkerProcess(1, port=worker.port)
    other = worker_process.WorkerProcess(1)
    assert other.port != worker.port
    other.wait_until_listening(240)
    other.stop()
    # Free again afterwards.
    again = worker_process.WorkerProcess(1, port=other.port)
    again.stop()


def test_worker_that_dies_tells_why(process_checks, worker):
    os.kill(worker.pid, signal.SIGKILL)
    assert process_checks.wait_until(lambda: worker.poll() is not None)
    with pytest.raises(RuntimeError, match=f'worker on port {worker.port} ended by SIGKILL'):
        worker.check_alive()


def test_missing_worker_binary(monkeypatch):
    monkeypatch.setattr(worker_process.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(FileNotFoundError, match='requirements/lock.txt'):
        worker_process.WorkerProcess(1)


@pytest.mark.parametrize('ending', ['SIGTERM', 'SIGINT to the group', 'SIGKILL'])
def test_worker_program_leaves_nothing(process_checks, ending):
    returned, text = process_checks.check_nothing_left(
        [*_WORKER, f'--port={process_checks.free_port()}'], ending, ready='is ready'
    )
    if ending == 'SIGKILL':
        assert returned == -signal.SIGKILL
    else:
        assert returned == 0 and text.startswith('stopped by SIG')


def test_worker_program_ends_with_its_worker(process_checks):
    with process_checks.running([*_WORKER, f'--port={process_checks.free_port()}']) as program:
        program.wait_for_line('is ready')
        os.kill(program.workers()[0], signal.SIGKILL)
        assert 'ended by SIGKILL' in program.output()
        assert program.process.returncode == os.EX_TEMPFAIL


def test_worker_program_refuses_a_taken_port(worker):
    command = [*_WORKER, f'--port={worker.port}']
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2 and f'port={worker.port}: Address already in use' in done.stderr
    assert 'Traceback' not in done.stderr

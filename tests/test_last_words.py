"""A program that a signal ends has one line on standard error, and no other has it."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from dp_fedemb import last_words

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Looks for listeners of its own among its children, of which it has no other.
PROGRAM = f"""
import os, pathlib, signal, sys, time
sys.path.insert(0, {str(ROOT)!r})
from dp_fedemb import last_words
last_words.listen('run it again', with_trace='trace' in sys.argv)
last_words.listen('run it again')

def listeners():
    children = pathlib.Path('/proc/self/task', str(os.getpid()), 'children')
    return [int(word) for word in children.read_text().split()]

def of_listener(name):
    return pathlib.Path('/proc', str(listeners()[0]), name)

def files():
    try:
        return sorted(os.readlink(path) for path in of_listener('fd').iterdir())
    except FileNotFoundError:
        return files()

def ready():
    while len(found := files()) != 5 or not any(path.endswith('/stat') for path in found):
        time.sleep(0.001)

def doomed_function(number):
    os.kill(os.getpid(), number)
    time.sleep(60)

def fork():
    pid = os.fork()
    if pid == 0:
        for number in (0, 1, 2):
            os.close(number)
        time.sleep(60)
    return pid
"""


def end(body, *words, **changes):
    """Runs the program; returns how it ended, after all who hold its output."""
    return subprocess.run(
        [sys.executable, '-c', PROGRAM + body, *words],
        **{'capture_output': True, 'text': True, 'timeout': 240, 'check': False} | changes,
    )


def lines(done):
    return [line for line in done.stderr.splitlines() if line]


@pytest.mark.parametrize(
    'number, said',
    [
        (signal.SIGBUS, 'stopped by SIGBUS: a file that is read was cut short, or a disk'),
        (signal.SIGABRT, 'stopped by SIGABRT: mostly TensorFlow without memory: free memory'),
        (signal.SIGSEGV, 'stopped by SIGSEGV: without memory, or a bug'),
        (
            signal.SIGKILL,
            'stopped by SIGKILL: by somebody, or by the system for want of memory',
        ),
        (signal.SIGTERM, 'stopped by SIGTERM; run it again'),
    ],
)
def test_who_is_ended_by_a_signal_has_one_line(number, said):
    done = end(f'doomed_function({int(number)})')
    assert done.returncode == -number and done.stdout == ''
    assert len(lines(done)) == 1, done.stderr
    assert lines(done)[0].startswith(f'error: {said}')
    assert lines(done)[0].endswith('run it again')


def test_a_trace_is_shown_on_demand():
    done = end(f'doomed_function({int(signal.SIGSEGV)})', 'trace')
    assert 'in doomed_function' in done.stderr
    assert lines(done)[-1].startswith('error: stopped by SIGSEGV')


@pytest.mark.parametrize(
    'body, code, last',
    [
        ('pass', 0, None),
        ('sys.exit(3)', 3, None),
        ('raise ValueError("its own")', 1, 'ValueError: its own'),
        ('signal.raise_signal(signal.SIGINT)', -signal.SIGINT, 'KeyboardInterrupt'),
        # Its descriptor is gone, and so is the listener.
        ('os.kill(listeners()[0], signal.SIGKILL)', 0, None),
        # A fork that ends well has said nothing for the program, and one that lives on
        # keeps nobody from hearing that the program has ended.
        (
            'pid = os.fork()\nif pid == 0: sys.exit()\nos.waitpid(pid, 0)\n'
            'os.kill(os.getpid(), signal.SIGKILL)',
            -signal.SIGKILL,
            'error: stopped by SIGKILL',
        ),
        ('fork()\nos.kill(os.getpid(), signal.SIGKILL)', -signal.SIGKILL, 'error: stopped by'),
        # What happens to a fork is nobody's end.
        ('pid = fork()\nos.kill(pid, signal.SIGSEGV)\nos.waitpid(pid, 0)', 0, None),
        # As a C library ends a program.
        (
            'os._exit(4)',
            4,
            'error: ended with code 4 by a library, mostly without memory: free memory',
        ),
        # Ctrl-C reaches the group, and whoever kills it.
        ('ready()\nos.killpg(os.getpid(), signal.SIGKILL)', -9, 'error: stopped by SIGKILL'),
    ],
)
def test_the_line_is_there_exactly_when_it_is_needed(body, code, last):
    done = end(body, start_new_session=True)
    assert done.returncode == code, done.stderr
    if last is None:
        assert done.stderr == ''
    else:
        assert lines(done)[-1].startswith(last)
        assert len(lines(done)) == 1 or not last.startswith('error')


def test_the_listener_holds_nothing_of_the_program(tmp_path):
    body = "ready()\nprint(files())\nprint(of_listener('environ').read_bytes())\n"
    body += "print(os.readlink(of_listener('cwd')))"
    with open(tmp_path / 'lock', 'w') as lock:
        done = end(body, cwd=tmp_path, pass_fds=[lock.fileno()], env={'SECRET': 'x'})
    assert done.returncode == 0, done.stderr
    files, environment, directory = done.stdout.splitlines()
    assert 'lock' not in files and files.count('/dev/null') == 2
    assert environment == "b''" and directory == '/'


def test_who_cannot_have_a_listener_goes_on_without():
    body = 'print(listeners())'
    begin = "import sys; sys.executable = '/nowhere'\n"
    done = subprocess.run(
        [sys.executable, '-c', begin + PROGRAM + body],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, '[]\n', '')


def test_closed_streams_get_no_line_and_wait_for_nobody():
    done = end('os.kill(os.getpid(), 9)', stderr=subprocess.DEVNULL, capture_output=False)
    assert done.returncode == -9


def test_more_is_not_claimed_than_is_known():
    assert last_words._what_ended(None, b'') == last_words._UNKNOWN
    assert 'SIGBUS' in last_words._what_ended(None, b'Fatal Python error: Bus error\n\n<no')
    # One that has been waited for.
    pid = os.posix_spawn('/bin/sleep', ['sleep', '60'], {})
    status = last_words._open_status(str(pid))
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert 'SIGKILL' in last_words._what_ended(status, b'')
    os.waitpid(pid, 0)
    assert last_words._what_ended(status, b'') == last_words._UNKNOWN
    os.close(status)
    assert last_words.meaning(signal.SIGRTMIN + 3) == f'stopped by signal {signal.SIGRTMIN + 3}'

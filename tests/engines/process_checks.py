"""Runs a program, ends it in some way, and looks for workers that it left behind.

Workers are known by a mark in their environment, which they inherit from the program,
so those of others on the same machine are neither counted nor touched.
"""

import contextlib
import os
import pathlib
import queue
import random
import signal
import socket
import subprocess
import threading
import time
import uuid

_MARK = 'DP_FEDEMB_TEST_MARK'
# By then what has not come hangs, however busy the machine is.
HANGS_S = 240.0

# Way to end -> what is done to the running program (a Popen in a group of its own).
ENDINGS = {
    'by itself': lambda process: None,
    'SIGINT': lambda process: process.send_signal(signal.SIGINT),
    'SIGINT to the group': lambda process: os.killpg(process.pid, signal.SIGINT),
    'SIGTERM': lambda process: process.send_signal(signal.SIGTERM),
    'SIGHUP': lambda process: process.send_signal(signal.SIGHUP),
    'SIGKILL': lambda process: process.send_signal(signal.SIGKILL),
}


class Program:
    """A program whose workers can be told from all others."""

    def __init__(self, command, **environment):
        self._mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, **environment, _MARK: self._mark},
        )
        self._lines = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def workers(self) -> list[int]:
        """Process numbers of its workers, and of guards that become one."""
        mark = f'{_MARK}={self._mark}'.encode()
        found = []
        for folder in pathlib.Path('/proc').glob('[0-9]*'):
            try:
                if int(folder.name) == self.process.pid:
                    continue
                ours = mark in (folder / 'environ').read_bytes().split(b'\0')
                if ours and b'worker_binary' in (folder / 'cmdline').read_bytes():
                    found.append(int(folder.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found

    def wait_for_worker(self, timeout_s: float = HANGS_S) -> int:
        """Returns the first worker's process number."""
        found = []

        def settled():
            # Looked at once: for a moment of the exec a guard has no environment.
            found[:] = self.workers()
            return found or self.process.poll() is not None

        wait_until(settled, timeout_s)
        assert found, f'no worker appeared; output: {self.output(1)}'
        return found[0]

    def wait_for_line(self, words: str, timeout_s: float = HANGS_S) -> str:
        """Returns the next line of output that has the words."""
        deadline = time.monotonic() + timeout_s
        while (line := self._lines.get(timeout=deadline - time.monotonic())) is not None:
            if words in line:
                return line
        raise AssertionError(f'{words!r} was never printed')

    def output(self, timeout_s: float = HANGS_S) -> str:
        """Returns what was not read yet, after the end of the program AND of its output.

        Raises:
            AssertionError: if one of them is late; a child that was left behind would
                hold the output open.
        """
        deadline = time.monotonic() + timeout_s
        self.process.wait(timeout_s)
        lines = []
        try:
            while (line := self._lines.get(timeout=deadline - time.monotonic())) is not None:
                lines.append(line)
        except (queue.Empty, ValueError):
            raise AssertionError('the program ended, but its output is held open') from None
        return ''.join(lines)

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def kill(self):
        """Ends the program and all its workers."""
        if self.process.poll() is None:
            self.process.kill()
        for pid in self.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)
        self.process.stdout.close()


@contextlib.contextmanager
def running(command, **environment):
    """A `Program` that does not outlive the block."""
    program = Program(command, **environment)
    try:
        yield program
    finally:
        program.kill()


def free_port() -> int:
    """Returns a port that nobody has, and that the system gives to nobody by itself."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(15_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as trial:
            trial.bind(('', port))
            return port


def wait_until(condition, timeout_s: float = HANGS_S) -> bool:
    """Returns whether the condition came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def check_nothing_left(
    command,
    ending: str = 'by itself',
    *,
    ready: str = '',
    start_timeout_s: float = HANGS_S,
    end_timeout_s: float = HANGS_S,
    left_timeout_s: float = HANGS_S,
) -> tuple[int, str]:
    """Asserts that a program that had a worker leaves none, and lets go of its output.

    Args:
        command: program and arguments.
        ending: a key of `ENDINGS`.
        ready: words of the line of output to wait for before it is ended; only the
            worker is waited for if empty.
        start_timeout_s: until the worker appears, or the line.
        end_timeout_s: from the signal to the end of the program.
        left_timeout_s: from the end of the program to that of its workers.

    Returns:
        Exit code and the output after the awaited line.
    """
    with running(command) as program:
        if ready:
            program.wait_for_line(ready, start_timeout_s)
            # A program that ends by itself may be past that already.
            assert program.workers() or ending == 'by itself', 'ready without a worker'
        else:
            program.wait_for_worker(start_timeout_s)
        ENDINGS[ending](program.process)
        text = program.output(end_timeout_s)
        gone = wait_until(lambda: not program.workers(), left_timeout_s)
        assert gone, f'{command} ended ({ending}) and left {program.workers()}; it said: {text}'
        return program.process.returncode, text

"""One `worker_binary` of TFF on this host, owned by this process.

TFF 0.87 starts the C++ worker and orphans it at interpreter exit, with its memory and
the caller's stdout. Here it runs under a guard that the kernel kills with us, writes to
a file of its own, and is stopped at interpreter exit, so none is left after a normal
exit, an exception, Ctrl-C, SIGTERM or SIGKILL. Imports neither TensorFlow nor TFF.
"""

import functools
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Optional
import weakref

from absl import logging

from dp_fedemb import host_error
from dp_fedemb import validate
from dp_fedemb.engines import worker_addresses

_GUARD = pathlib.Path(__file__).with_name('worker_guard.py')
# An argument that the worker ignores and the driver reads back over the wire.
INTRODUCTION = 'dp_fedemb_worker'
# In a network of its own any port is free.
_INNER_PORT = 8470
_CHECK_S = 20.0


class WorkerError(host_error.HostError):
    """A worker is gone, silent or failed: the run can go on from its checkpoint."""


def worker_binary() -> pathlib.Path:
    """Returns the path of TFF's C++ worker.

    Raises:
        FileNotFoundError: if the installed TFF has none.
    """
    spec = importlib.util.find_spec('tensorflow_federated')
    for folder in (spec and spec.submodule_search_locations) or ():
        path = pathlib.Path(folder) / 'data' / 'worker_binary'
        if path.exists():
            return path
    raise FileNotFoundError(
        'tensorflow-federated with its C++ worker is not installed in'
        f' {sys.prefix}; install the Linux x86-64 wheel of requirements/lock.txt'
    )


def tff_version() -> str:
    """Returns the version of the installed TFF, without importing it."""
    return importlib.metadata.version('tensorflow-federated')


@functools.cache
def why_not_isolated() -> Optional[str]:
    """Returns why a worker cannot have a network of its own here; None if it can."""
    command = [sys.executable, '-I', '-S', str(_GUARD), '--check']
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CHECK_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.strip() or 'no reason given' if done.returncode else None


class WorkerProcess:
    """One guarded `worker_binary`.

    TFF's worker listens on every interface, without a password, and runs what it is sent.
    With a listener it has a network of its own and is reached by the listener alone.

    Attributes:
        address: where a driver on this host finds it: 'localhost:port', or 'unix:path'.
    """

    def __init__(
        self,
        parallelism: int,
        intra_op_threads: int = 1,
        port: Optional[int] = None,
        *,
        listener: Optional[socket.socket] = None,
        folder: str = '',
    ):
        """Starts the process; `wait_until_listening` tells when it answers.

        Must be called on a thread that lives as long as the worker should: the
        kernel ties the death signal to the thread that started the process.

        Args:
            parallelism: computations run at the same time.
            intra_op_threads: threads inside one TensorFlow operation.
            port: TCP port; a free one by default.
            listener: a listening socket, to be reached by that alone; stays the caller's.
            folder: removed with the worker, whatever ends it.

        Raises:
            ValueError: if the port is taken.
        """
        validate.positive(parallelism=parallelism, intra_op_threads=intra_op_threads)
        if threading.current_thread() is not threading.main_thread():
            logging.warning('Worker started off the main thread: it ends with this thread')
        binary = worker_binary()
        self._folder = folder
        self._status: Optional[int] = None
        self._reservation: Optional[socket.socket] = None
        inherited: tuple[int, ...] = ()
        relay = []
        if listener is None:
            self._reservation = worker_addresses.reserve_port(port)
            self.port = self._reservation.getsockname()[1]
            self.address = f'localhost:{self.port}'
            self._name = f'port {self.port}'
        else:
            self._status, status = os.pipe()
            os.set_blocking(self._status, False)
            self.port = _INNER_PORT
            inherited = (listener.fileno(), status)
            place = listener.getsockname()
            self.address = (
                f'unix:{place}' if isinstance(place, str) else f'localhost:{place[1]}'
            )
            self._name = place if isinstance(place, str) else f'port {place[1]}'
            options = [*map(str, inherited), str(self.port), *([folder] if folder else [])]
            relay = [f'--relay={",".join(options)}']
        self._log = tempfile.TemporaryFile()
        introduction = json.dumps(
            {'tff': tff_version(), 'cores': parallelism}, separators=(',', ':')
        )
        command = [
            sys.executable,
            '-I',
            '-S',
            str(_GUARD),
            str(os.getpid()),
            *relay,
            str(binary),
            f'--port={self.port}',
            f'--max_concurrent_computation_calls={parallelism}',
            f'--undefok={INTRODUCTION}',
            f'--{INTRODUCTION}={introduction}',
        ]
        environment = dict(
            os.environ,
            TF_NUM_INTRAOP_THREADS=str(intra_op_threads),
            TF_CPP_MIN_LOG_LEVEL=os.environ.get('TF_CPP_MIN_LOG_LEVEL', '2'),
        )
        # In a session of its own, so that Ctrl-C reaches the driver alone, which
        # then ends the round in its own way.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=environment,
            start_new_session=True,
            pass_fds=inherited,
        )
        for descriptor in inherited[1:]:
            os.close(descriptor)
        # Also runs at interpreter exit, and when the object is forgotten.
        self._finalizer = weakref.finalize(self, _kill, self._process, self._status, folder)

    @property
    def pid(self) -> int:
        """Process number, the same before and after the guard hands over."""
        return self._process.pid

    def poll(self) -> Optional[int]:
        """Returns the exit code (minus a signal's number), None while it runs."""
        return self._process.poll()

    def wait_until_listening(self, timeout_s: float) -> None:
        """Waits until the worker accepts connections.

        Raises:
            WorkerError: if the worker ends, or does not listen in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self.check_alive()
            if self._answers():
                return
            if time.monotonic() > deadline:
                self.stop()
                raise WorkerError(
                    f'TFF worker on {self._name} did not listen within {timeout_s:g} s'
                )
            time.sleep(0.01)

    def check_alive(self, patience_s: float = 0.0) -> None:
        """Raises WorkerError with the worker's last words if it has ended.

        Args:
            patience_s: how long to wait for an end that has shown itself already.
        """
        deadline = time.monotonic() + patience_s
        while (code := self._process.poll()) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if code is not None:
            how = f'by {signal.Signals(-code).name}' if code < 0 else f'with code {code}'
            hint = (
                ' (what the kernel does when memory runs out)'
                if code == -signal.SIGKILL
                else ''
            )
            raise WorkerError(
                f'TFF worker on {self._name} ended {how}{hint}: {self._log_tail()}'
            )

    def driver_has_left(self) -> bool:
        """Whether, since the last call, the last driver behind the listener has left."""
        return b'd' in self._news()

    def stop(self) -> None:
        """Ends the worker at once; it holds nothing worth saving."""
        self._finalizer()
        if self._reservation is not None:
            self._reservation.close()
        self._log.close()

    def _answers(self) -> bool:
        if self._status is not None:
            return b'r' in self._news()
        try:
            socket.create_connection(('localhost', self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _news(self) -> bytes:
        """What the relay has said."""
        assert self._status is not None, 'without a listener there is no relay'
        try:
            return os.read(self._status, 1 << 10)
        except BlockingIOError:
            return b''

    def _log_tail(self) -> str:
        if self._log.closed:
            return 'it was stopped'
        self._log.seek(0)
        lines = self._log.read().decode(errors='replace').split('\n')
        return next((line for line in reversed(lines) if line.strip()), 'it printed nothing')


def _kill(process: subprocess.Popen, status: Optional[int], folder: str) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    if status is not None:
        os.close(status)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)

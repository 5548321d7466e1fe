"""One `worker_binary` of TFF on this host, owned by this process.

TFF 0.87 starts the C++ worker and orphans it at interpreter exit, with its memory and
the caller's stdout. Here it runs under a guard that the kernel kills with us, writes to
a file of its own, and is stopped at interpreter exit, so none is left after a normal
exit, an exception, Ctrl-C, SIGTERM or SIGKILL. Imports neither TensorFlow nor TFF.
"""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
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

from dp_fedemb import validate

_GUARD = pathlib.Path(__file__).with_name('worker_guard.py')
# An argument that the worker ignores and the driver reads back over the wire.
INTRODUCTION = 'dp_fedemb_worker'


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


class WorkerProcess:
    """One guarded `worker_binary`, listening on every interface of this host."""

    def __init__(self, parallelism: int, intra_op_threads: int = 1, port: Optional[int] = None):
        """Starts the process; `wait_until_listening` tells when it answers.

        Must be called on a thread that lives as long as the worker should: the
        kernel ties the death signal to the thread that started the process.

        Args:
            parallelism: computations run at the same time.
            intra_op_threads: threads inside one TensorFlow operation.
            port: TCP port; a free one by default.

        Raises:
            ValueError: if the port is taken.
        """
        validate.positive(parallelism=parallelism, intra_op_threads=intra_op_threads)
        if threading.current_thread() is not threading.main_thread():
            logging.warning('Worker started off the main thread: it ends with this thread')
        binary = worker_binary()
        self._reservation = _reserve_port(port)
        self.port = self._reservation.getsockname()[1]
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
        )
        # Also runs at interpreter exit, and when the object is forgotten.
        self._finalizer = weakref.finalize(self, _kill, self._process)

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
            RuntimeError: if the worker ends, or does not listen in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self.check_alive()
            try:
                socket.create_connection(('localhost', self.port), timeout=1).close()
                return
            except OSError:
                pass
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(
                    f'TFF worker on port {self.port} did not listen within {timeout_s:g} s'
                )
            time.sleep(0.01)

    def check_alive(self, patience_s: float = 0.0) -> None:
        """Raises RuntimeError with the worker's last words if it has ended.

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
            raise RuntimeError(
                f'TFF worker on port {self.port} ended {how}{hint}: {self._log_tail()}'
            )

    def stop(self) -> None:
        """Ends the worker at once; it holds nothing worth saving."""
        self._finalizer()
        self._reservation.close()
        self._log.close()

    def _log_tail(self) -> str:
        if self._log.closed:
            return 'it was stopped'
        self._log.seek(0)
        lines = self._log.read().decode(errors='replace').split('\n')
        return next((line for line in reversed(lines) if line.strip()), 'it printed nothing')


def _kill(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def _reserve_port(port: Optional[int]) -> socket.socket:
    """Binds a port and keeps it without listening, so that nobody else gets it.

    The worker sets SO_REUSEPORT, as this socket does, and binds the same port. Without
    the reservation two workers started at the same time on one port would both get
    it, and the kernel would deal the connections out among them.
    """
    family = socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET
    try:
        if port is not None:
            # Without SO_REUSEPORT first: refused if there is anybody, sharing or not.
            with socket.socket(family) as exclusive:
                exclusive.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                exclusive.bind(('', port))
        reservation = socket.socket(family)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reservation.bind(('', port or 0))
        return reservation
    except OSError as error:
        raise ValueError(
            f'port={port}: {error.strerror}; stop what listens there (ss -ltnp), or choose'
            ' another port'
        ) from error

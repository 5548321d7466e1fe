"""TFF's local runtime, owned by this process.

TFF 0.87 starts a C++ `worker_binary` and orphans it at interpreter exit, with its
memory and the caller's stdout. Here the worker is started under a guard that the
kernel kills with us, so none is left after a normal exit, an exception, Ctrl-C,
SIGTERM or SIGKILL. Its operations run single-threaded, one client per core.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Optional

from absl import logging
import grpc
import portpicker
import tensorflow_federated as tff

from dp_fedemb import validate

_GUARD = pathlib.Path(__file__).with_name('worker_guard.py')
_MAX_MESSAGE_BYTES = 2 * 10**9
_CHANNEL_OPTIONS = [
    ('grpc.max_message_length', _MAX_MESSAGE_BYTES),
    ('grpc.max_receive_message_length', _MAX_MESSAGE_BYTES),
    ('grpc.max_send_message_length', _MAX_MESSAGE_BYTES),
]


def worker_binary() -> pathlib.Path:
    """Returns the path of TFF's C++ worker.

    Raises:
        FileNotFoundError: if the installed TFF has none.
    """
    path = pathlib.Path(tff.__file__).parent / 'data' / 'worker_binary'
    if not path.exists():
        raise FileNotFoundError(
            f'{path}: tensorflow-federated is installed without its C++ worker; install the'
            ' Linux x86-64 wheel of requirements/lock.txt'
        )
    return path


def default_parallelism() -> int:
    """Returns the number of cores this process may use."""
    return len(os.sched_getaffinity(0))


class WorkerProcess:
    """One guarded `worker_binary` on this host."""

    def __init__(self, parallelism: int, intra_op_threads: int, port: Optional[int] = None):
        """Starts the process; `wait_until_ready` tells when it answers.

        Must be called on a thread that lives as long as the worker should: the
        kernel ties the death signal to the thread that started the process.

        Args:
            parallelism: computations run at the same time.
            intra_op_threads: threads inside one TensorFlow operation.
            port: TCP port; a free one by default.
        """
        validate.positive(client_parallelism=parallelism, intra_op_threads=intra_op_threads)
        self.port = port or portpicker.pick_unused_port()
        self._log = tempfile.TemporaryFile()
        environment = dict(
            os.environ,
            TF_NUM_INTRAOP_THREADS=str(intra_op_threads),
            TF_CPP_MIN_LOG_LEVEL=os.environ.get('TF_CPP_MIN_LOG_LEVEL', '2'),
        )
        command = [
            sys.executable, '-I', '-S', str(_GUARD), str(os.getpid()), str(worker_binary()),
            f'--port={self.port}', f'--max_concurrent_computation_calls={parallelism}',
        ]
        # In a session of its own, so that Ctrl-C reaches the driver alone, which
        # then ends the round in its own way.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            env=environment, start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process number, the same before and after the guard hands over."""
        return self._process.pid

    def log_tail(self) -> str:
        """Returns the last line that the worker printed."""
        self._log.seek(0)
        lines = self._log.read().decode(errors='replace').splitlines()
        return lines[-1] if lines else 'it printed nothing'

    def wait_until_ready(self, stub, timeout_s: float) -> None:
        """Waits for the first answer.

        Raises:
            RuntimeError: if the worker ends, or does not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        while not stub.is_ready:
            if self._process.poll() is not None:
                raise RuntimeError(
                    f'TFF worker ended with code {self._process.returncode}: {self.log_tail()}'
                )
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(
                    f'TFF worker on port {self.port} did not answer within {timeout_s:g} s'
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends the worker at once; it holds nothing worth saving."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()


class LocalRuntime:
    """Installs TFF's default context on a worker of our own while entered.

    >>> with LocalRuntime():
    ...     state = process.initialize()
    """

    def __init__(
        self,
        client_parallelism: Optional[int] = None,
        intra_op_threads: int = 1,
        timeout_s: float = 60.0,
    ):
        """Chooses the thread layout.

        Args:
            client_parallelism: TFF clients run at the same time; the cores by default.
            intra_op_threads: threads inside an operation. One client per core with
                single-threaded operations is the fastest on a CPU.
            timeout_s: how long to wait for the worker to answer.
        """
        self.client_parallelism = client_parallelism or default_parallelism()
        self._intra_op_threads = intra_op_threads
        self._timeout_s = timeout_s
        self._worker = None

    @property
    def worker_pids(self) -> list[int]:
        """Process numbers of the workers that this runtime owns."""
        return [self._worker.pid] if self._worker else []

    def __enter__(self) -> 'LocalRuntime':
        if threading.current_thread() is not threading.main_thread():
            logging.warning('LocalRuntime entered off the main thread: its worker ends with it')
        self._worker = WorkerProcess(self.client_parallelism, self._intra_op_threads)
        try:
            channel = grpc.insecure_channel(f'localhost:{self._worker.port}', _CHANNEL_OPTIONS)
            self._channel = channel
            stub = tff.framework.RemoteExecutorGrpcStub(channel)
            self._worker.wait_until_ready(stub, self._timeout_s)
            self._previous = tff.framework.get_context_stack().current
            tff.framework.set_default_context(_sync_context(stub))
        except BaseException:
            self._worker.stop()
            raise
        return self

    def __exit__(self, kind, error, trace):
        tff.framework.set_default_context(self._previous)
        self._channel.close()
        self._worker.stop()


def _sync_context(stub):
    native = tff.backends.native.execution_contexts

    def stack(cardinalities):
        cardinalities.setdefault(tff.CLIENTS, 0)
        executor = tff.framework.RemoteExecutor(stub)
        executor.set_cardinalities(cardinalities)
        return executor

    return tff.framework.SyncExecutionContext(
        executor_fn=tff.framework.ResourceManagingExecutorFactory(stack),
        compiler_fn=native.compiler.desugar_and_transform_to_native,
        transform_args=tff.tensorflow.transform_args,
        transform_result=tff.tensorflow.transform_result,
    )

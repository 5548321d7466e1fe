"""A `bin/worker.py` on some host, as seen from the driver: its version, signs of life."""

import collections
from collections.abc import Callable, Sequence
import functools
import json
import threading

import grpc
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb.engines import connection
from dp_fedemb.engines import executor as executor_lib
from dp_fedemb.engines import worker_addresses
from dp_fedemb.engines import worker_process

WorkerLostError = connection.WorkerLostError


class RemoteWorker(connection.Connection):
    """The connection to one worker; its methods may be called from several threads.

    Attributes:
        cores: computations that it runs at the same time.
        executor: of placement-free computations, once connected.
    """

    executor: executor_lib.Executor

    def __init__(self, address: str, timeout_s: float):
        """Starts to connect; `connect` waits for it.

        Args:
            address: 'host:port' or 'unix:/path'.
            timeout_s: how long it may leave a sign of life unanswered.

        Raises:
            ValueError: for another address.
        """
        worker_addresses.check_address(address)
        super().__init__(address, timeout_s)
        self.cores = 0

    def connect(self) -> None:
        """Waits for the worker, checks its version and starts to watch it.

        Raises:
            WorkerLostError: if it does not answer in time.
            ValueError: if it is not a worker of this version of TFF.
        """
        try:
            grpc.channel_ready_future(self._channel).result(self._timeout_s)
        except grpc.FutureTimeoutError:
            reason = worker_addresses.why_silent(self.address)
            self._lose(f'did not answer within {self._timeout_s:g} s ({reason})')
            raise WorkerLostError(f'worker {self.address} {self.lost}') from None
        self._deadline_s = self._timeout_s
        self._check_introduction()
        self._deadline_s = None
        self.watch()

    def _check_introduction(self) -> None:
        remedy = f'start it with bin/worker.py of TFF {worker_process.tff_version()}'
        try:
            self.executor = executor_lib.Executor(self)
            function = self.executor.create_function(_command_line())
            words = self.executor.call(function, [])[0].decode(errors='replace').split('\0')
            function.free()
        except RuntimeError as error:
            if isinstance(error, WorkerLostError):
                raise
            raise ValueError(f'{error}; another version or no worker? {remedy}') from error
        prefix = f'--{worker_process.INTRODUCTION}='
        found = [word.removeprefix(prefix) for word in words if word.startswith(prefix)]
        if not found:
            raise ValueError(f'worker {self.address} does not say its version; {remedy}')
        introduction = json.loads(found[0])
        if introduction['tff'] != worker_process.tff_version():
            raise ValueError(
                f'worker {self.address} runs TFF {introduction["tff"]}, the driver'
                f' {worker_process.tff_version()}; install the same requirements/lock.txt'
            )
        self.cores = int(introduction['cores'])


@functools.cache
def _command_line() -> tff.Computation:
    """Its own arguments, as the kernel shows them to the worker itself.

    Made when it is needed: tracing a data set sets TensorFlow up, and whoever imports
    this may want to fork.
    """

    @tff.tensorflow.computation
    def command_line() -> tuple[tf.Tensor]:
        lines = tf.data.TextLineDataset('/proc/self/cmdline')
        return (lines.reduce(tf.constant(''), lambda text, line: text + line),)

    return command_line


def connect_all(addresses: Sequence[str], timeout_s: float) -> list[RemoteWorker]:
    """Connects to workers at the same time.

    Raises:
        ValueError: for an address that is given twice, and for workers of another
            version.
        RuntimeError: naming every worker that does not answer.
    """
    twice = [name for name, count in collections.Counter(addresses).items() if count > 1]
    if twice or not addresses:
        raise ValueError(f'workers={list(addresses)}: expected different host:port entries')
    workers = [RemoteWorker(address, timeout_s) for address in addresses]
    errors = run_on_each(workers, lambda worker: worker.connect())
    if errors:
        for worker in workers:
            worker.close()
        wrong = any(isinstance(error, ValueError) for error in errors)
        kind = ValueError if wrong else worker_process.WorkerError
        raise kind('; '.join(str(error) for error in errors))
    return workers


def run_on_each(
    workers: Sequence[RemoteWorker], do: Callable[[RemoteWorker], None]
) -> list[Exception]:
    """Calls `do(worker)` for all at the same time; returns what they raised."""
    errors: list[Exception] = []

    def run(worker: RemoteWorker) -> None:
        try:
            do(worker)
        except (RuntimeError, ValueError) as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[w], daemon=True) for w in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors

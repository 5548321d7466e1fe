"""TFF's local runtime on a worker of our own; see `worker_process`."""

import atexit
from collections.abc import Mapping
import functools
from types import TracebackType
from typing import Any, Optional

from absl import logging
import tensorflow_federated as tff

from dp_fedemb import environment
from dp_fedemb.engines import connection as connection_lib
from dp_fedemb.engines import executor
from dp_fedemb.engines import worker_addresses
from dp_fedemb.engines import worker_process

default_parallelism = environment.usable_cores


class LocalRuntime:
    """Installs TFF's default context on a worker of our own while entered.

    Its operations run single-threaded, one client per core. Enter it on the main
    thread: the worker ends with the thread that started it.

        with LocalRuntime():
            state = process.initialize()
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
        self._worker: Optional[worker_process.WorkerProcess] = None

    @property
    def worker_pids(self) -> list[int]:
        """Process numbers of the workers that this runtime owns."""
        return [self._worker.pid] if self._worker else []

    def create_executor(self, num_clients: int) -> executor.Executor:
        """Returns an executor on the worker for so many clients; enter before."""
        return executor.Executor(self._connection, num_clients)

    def __enter__(self) -> 'LocalRuntime':
        worker = self._start_worker()
        try:
            worker.wait_until_listening(self._timeout_s)
            self._connection = connection_lib.Connection(
                worker.address, self._timeout_s, worker
            )
            self._connection.watch()
            self._previous = tff.framework.get_context_stack().current
            tff.framework.set_default_context(_sync_context(self._connection))
        except BaseException:
            worker.stop()
            raise
        self._worker = worker
        return self

    def _start_worker(self) -> worker_process.WorkerProcess:
        reason = worker_process.why_not_isolated()
        arguments = (self.client_parallelism, self._intra_op_threads)
        if reason is None:
            listener, folder = worker_addresses.private_listener()
            with listener:
                return worker_process.WorkerProcess(
                    *arguments, listener=listener, folder=folder
                )
        worker = worker_process.WorkerProcess(*arguments)
        logging.warning(
            'THE WORKER CAN BE REACHED FROM OUTSIDE: TFF opens port %d on every interface,'
            ' without a password, and this machine gives it no network of its own (%s);'
            ' keep others away from the port, see docs/workers.md',
            worker.port,
            reason,
        )
        return worker

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        worker, self._worker = self._worker, None
        assert worker is not None, 'left without having been entered'
        tff.framework.set_default_context(self._previous)
        # The worker first: what still waits for its answer then fails instead of hanging.
        worker.stop()
        self._connection.close()


class _KeepingExecutor(tff.framework.RemoteExecutor):
    """TFF's own, but a computation is sent once and then kept by the worker.

    TFF serializes and sends it, and the worker takes it apart, in every round.
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._kept: dict[int, Any] = {}

    async def create_value(self, value: Any, type_spec: Any = None) -> Any:
        if not isinstance(value, tff.framework.ConcreteComputation):
            return await super().create_value(value, type_spec)
        # The computation is held too, so that its id stays its own.
        if id(value) not in self._kept:
            self._kept[id(value)] = value, await super().create_value(value, type_spec)
        return self._kept[id(value)][1]

    def close(self) -> None:
        self._kept.clear()
        super().close()


def _executor(
    connection: connection_lib.Connection, cardinalities: Mapping[Any, int]
) -> _KeepingExecutor:
    # Values are freed one by one: a batch of states and updates is memory.
    created = _KeepingExecutor(connection, dispose_batch_size=1)
    created.set_cardinalities({tff.CLIENTS: 0, **cardinalities})
    return created


def _sync_context(connection: connection_lib.Connection) -> tff.framework.SyncExecutionContext:
    return tff.framework.SyncExecutionContext(
        executor_fn=tff.framework.ResourceManagingExecutorFactory(
            functools.partial(_executor, connection)
        ),
        compiler_fn=tff.backends.native.desugar_and_transform_to_native,
        transform_args=tff.tensorflow.transform_args,
        transform_result=tff.tensorflow.transform_result,
    )


class _NoContext(tff.framework.SyncContext):
    """For the time after the last computation; unlike TFF's own it opens nothing."""

    def invoke(self, comp: Any, arg: Any) -> Any:
        raise RuntimeError('the program is at its end')


@atexit.register
def _drop_stock_context() -> None:
    # TFF's own default context would print an AttributeError when it is torn down after
    # the modules that it needs.
    tff.framework.set_default_context(_NoContext())

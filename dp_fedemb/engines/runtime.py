"""TFF's local runtime on a worker of our own; see `worker_process`."""

import atexit
import functools
from typing import Optional

import grpc
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import executor_pb2_grpc

from dp_fedemb.engines import worker_process

# Protocol buffers end at 2 GiB.
_MAX_MESSAGE_BYTES = 2**31 - 1
CHANNEL_OPTIONS = [
    ('grpc.max_receive_message_length', _MAX_MESSAGE_BYTES),
    ('grpc.max_send_message_length', _MAX_MESSAGE_BYTES),
    # Shorter than the default's second, doubled with every attempt.
    ('grpc.initial_reconnect_backoff_ms', 100),
    # Never through a proxy of the environment.
    ('grpc.enable_http_proxy', 0),
]

default_parallelism = worker_process.available_cores


class LocalRuntime:
    """Installs TFF's default context on a worker of our own while entered.

    Its operations run single-threaded, one client per core. Enter it on the main
    thread: the worker ends with the thread that started it.

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

    def create_executor(self, num_clients: int) -> tff.framework.RemoteExecutor:
        """Returns an executor on the worker for so many clients; enter before."""
        return _executor(self._stub, {tff.CLIENTS: num_clients})

    def __enter__(self) -> 'LocalRuntime':
        worker = worker_process.WorkerProcess(self.client_parallelism, self._intra_op_threads)
        try:
            worker.wait_until_listening(self._timeout_s)
            self._channel = grpc.insecure_channel(f'localhost:{worker.port}', CHANNEL_OPTIONS)
            self._stub = _WorkerStub(self._channel, worker)
            self._previous = tff.framework.get_context_stack().current
            tff.framework.set_default_context(_sync_context(self._stub))
        except BaseException:
            worker.stop()
            raise
        self._worker = worker
        return self

    def __exit__(self, kind, error, trace):
        worker, self._worker = self._worker, None
        tff.framework.set_default_context(self._previous)
        # The worker first: what still waits for its answer then fails instead of hanging.
        worker.stop()
        self._channel.close()


class _WorkerStub(tff.framework.RemoteExecutorStub):
    """TFF's own stub, but a worker that died is an error and not tried again for ever."""

    def __init__(self, channel, worker):
        self._stub = executor_pb2_grpc.ExecutorGroupStub(channel)
        self._worker = worker

    def get_executor(self, request):
        return self._ask(self._stub.GetExecutor, request)

    def create_value(self, request):
        return self._ask(self._stub.CreateValue, request)

    def create_struct(self, request):
        return self._ask(self._stub.CreateStruct, request)

    def create_selection(self, request):
        return self._ask(self._stub.CreateSelection, request)

    def create_call(self, request):
        return self._ask(self._stub.CreateCall, request)

    def compute(self, request):
        return self._ask(self._stub.Compute, request)

    def dispose(self, request):
        return self._forget(self._stub.Dispose, request)

    def dispose_executor(self, request):
        return self._forget(self._stub.DisposeExecutor, request)

    @property
    def is_ready(self):
        return self._worker.poll() is None

    def _ask(self, rpc, request):
        try:
            return rpc(request)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                self._worker.check_alive(patience_s=1.0)
            raise
        except ValueError as error:
            # What gRPC raises for a closed channel.
            raise RuntimeError('the runtime was left') from error

    def _forget(self, rpc, request):
        # Called by the garbage collector too, perhaps after the end of the worker.
        try:
            return rpc(request)
        except (grpc.RpcError, ValueError):
            return None


class _KeepingExecutor(tff.framework.RemoteExecutor):
    """TFF's own, but a computation is sent once and then kept by the worker.

    TFF serializes and sends it, and the worker takes it apart, in every round.
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._kept = {}

    async def create_value(self, value, type_spec=None):
        if not isinstance(value, tff.framework.ConcreteComputation):
            return await super().create_value(value, type_spec)
        # The computation is held too, so that its id stays its own.
        if id(value) not in self._kept:
            self._kept[id(value)] = value, await super().create_value(value, type_spec)
        return self._kept[id(value)][1]

    def close(self):
        self._kept.clear()
        super().close()


def _executor(stub, cardinalities):
    # Values are freed one by one: a batch of states and updates is memory.
    executor = _KeepingExecutor(stub, dispose_batch_size=1)
    executor.set_cardinalities({tff.CLIENTS: 0, **cardinalities})
    return executor


def _sync_context(stub):
    return tff.framework.SyncExecutionContext(
        executor_fn=tff.framework.ResourceManagingExecutorFactory(
            functools.partial(_executor, stub)
        ),
        compiler_fn=tff.backends.native.desugar_and_transform_to_native,
        transform_args=tff.tensorflow.transform_args,
        transform_result=tff.tensorflow.transform_result,
    )


@atexit.register
def _drop_stock_context():
    # TFF's own default context would print an AttributeError when it is torn down after
    # the modules that it needs.
    tff.framework.set_default_context(_sync_context(None))

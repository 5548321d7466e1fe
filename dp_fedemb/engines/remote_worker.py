"""A `bin/worker.py` on some host, as seen from the driver.

Speaks TFF's executor protocol (tensorflow_federated/proto/v0/executor.proto) itself
instead of through `tff.framework.RemoteExecutor`: here every call has a deadline or can
be cut off, a computation is sent once and not every round, and an error names the
worker. What is sent are placement-free TensorFlow computations on flat structures.
"""

import collections
from collections.abc import Sequence
import contextlib
import json
import threading
from typing import Any, Optional

import grpc
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import computation_pb2
from tensorflow_federated.proto.v0 import executor_pb2
from tensorflow_federated.proto.v0 import executor_pb2_grpc

from dp_fedemb.engines import runtime
from dp_fedemb.engines import worker_process

_PROBE_INTERVAL_S = 1.0
# The answers that say that the worker, or what it held for us, is no more.
_LOST = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    # It was started anew and knows nothing of what was sent before.
    grpc.StatusCode.FAILED_PRECONDITION,
)


class WorkerLostError(RuntimeError):
    """A worker does not answer any more; its share can be done by another one."""


class Value:
    """A value that a worker holds for us, until `free`."""

    def __init__(self, worker: 'RemoteWorker', reference: executor_pb2.ValueRef):
        self.reference = reference
        self._worker = worker

    def free(self) -> None:
        """Lets the worker forget it."""
        self._worker.dispose(self.reference)


class RemoteWorker:
    """The connection to one worker; its methods may be called from several threads."""

    def __init__(self, address: str, timeout_s: float):
        """Starts to connect; `connect` waits for it.

        Args:
            address: 'host:port'.
            timeout_s: how long it may leave a sign of life unanswered.

        Raises:
            ValueError: if the address has no port.
        """
        host, colon, port = address.rpartition(':')
        if not (host and colon and port.isdecimal()):
            raise ValueError(f'worker {address!r}: expected host:port')
        self.address = address
        self.cores = 0
        self.lost: Optional[str] = None
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(address, runtime.CHANNEL_OPTIONS)
        self._stub = executor_pb2_grpc.ExecutorGroupStub(self._channel)
        self._executor = None
        self._closed = threading.Event()

    def connect(self) -> None:
        """Waits for the worker, checks its version and starts to watch it.

        Raises:
            WorkerLostError: if it does not answer in time.
            ValueError: if it is not a worker of this version of TFF.
        """
        try:
            grpc.channel_ready_future(self._channel).result(self._timeout_s)
        except grpc.FutureTimeoutError:
            self._lose(f'did not answer within {self._timeout_s:g} s')
            raise WorkerLostError(f'worker {self.address} {self.lost}') from None
        clients = executor_pb2.Cardinality(
            placement=computation_pb2.Placement(uri=tff.CLIENTS.uri), cardinality=0
        )
        response = self._ask(
            self._stub.GetExecutor, executor_pb2.GetExecutorRequest(cardinalities=[clients])
        )
        self._executor = response.executor
        self._check_introduction()
        threading.Thread(target=self._watch, daemon=True).start()

    def _check_introduction(self):
        remedy = f'start it with bin/worker.py of TFF {worker_process.tff_version()}'
        try:
            function = self.create_function(_command_line)
            words = self.call(function, [])[0].decode(errors='replace').split('\0')
            function.free()
        except RuntimeError as error:
            if isinstance(error, WorkerLostError):
                raise
            raise ValueError(f'{error}; is it of another version? {remedy}') from error
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

    def create_function(self, computation: tff.Computation) -> Value:
        """Sends a computation of one flat structure of tensors, or of nothing."""
        compiled = tff.backends.native.desugar_and_transform_to_native(computation)
        message, _ = tff.framework.serialize_value(compiled, computation.type_signature)
        return self._create(
            executor_pb2.CreateValueRequest(executor=self._executor, value=message)
        )

    def create_tensors(self, arrays: Sequence[np.ndarray]) -> Value:
        """Sends a flat structure of tensors."""
        request = executor_pb2.CreateValueRequest(executor=self._executor)
        for array in map(np.asarray, arrays):
            _write(array, request.value.struct.element.add().value)
        return self._create(request)

    def call(self, function: Value, arguments: Sequence[Value]) -> list[Any]:
        """Returns the flat results of a function of a tuple of flat structures.

        Raises:
            WorkerLostError: if the worker ends or falls silent meanwhile.
            RuntimeError: if the computation fails.
        """
        held = []
        try:
            argument = None
            if arguments:
                elements = [
                    executor_pb2.CreateStructRequest.Element(value_ref=value.reference)
                    for value in arguments
                ]
                request = executor_pb2.CreateStructRequest(
                    executor=self._executor, element=elements
                )
                argument = self._ask(self._stub.CreateStruct, request).value_ref
                held.append(argument)
            request = executor_pb2.CreateCallRequest(
                executor=self._executor,
                function_ref=function.reference,
                argument_ref=argument,
            )
            result = self._ask(self._stub.CreateCall, request).value_ref
            held.append(result)
            request = executor_pb2.ComputeRequest(executor=self._executor, value_ref=result)
            answer = self._ask(self._stub.Compute, request)
        finally:
            self.dispose(*held)
        return [
            tff.framework.deserialize_value(e.value)[0] for e in answer.value.struct.element
        ]

    def dispose(self, *references: executor_pb2.ValueRef) -> None:
        """Lets the worker forget values; no error if it is gone itself."""
        request = executor_pb2.DisposeRequest(executor=self._executor, value_ref=references)
        if references and not self._closed.is_set():
            with contextlib.suppress(grpc.RpcError, ValueError):
                self._stub.Dispose(request, timeout=self._timeout_s)

    def close(self) -> None:
        """Ends the connection; calls that wait for an answer fail at once."""
        self._closed.set()
        self._channel.close()

    def _create(self, request):
        return Value(self, self._ask(self._stub.CreateValue, request).value_ref)

    def _ask(self, rpc, request):
        """Calls without a deadline: `_watch` cuts it off if the worker falls silent."""
        if self._closed.is_set():
            raise WorkerLostError(f'worker {self.address} {self.lost or "is closed"}')
        try:
            timeout = None if self.cores else self._timeout_s
            return rpc(request, timeout=timeout)
        except grpc.RpcError as error:
            text = ' '.join((error.details() or '').split())
            if error.code() not in _LOST:
                raise RuntimeError(f'worker {self.address}: {text}') from error
            self._lose(f'was lost ({error.code().name}: {text})')
        except ValueError as error:
            # What gRPC raises for a channel that is closed in this moment.
            self._lose(f'was lost ({error})')
        raise WorkerLostError(f'worker {self.address} {self.lost}')

    def _lose(self, reason):
        if not self._closed.is_set():
            self.lost = self.lost or reason
        self.close()

    def _watch(self):
        """Asks for a sign of life while the worker computes.

        A dead host or cut cable answers nothing at all, and a stopped process leaves
        its connection open, so only a question with a deadline tells.
        """
        nobody = executor_pb2.ExecutorId(id='a sign of life')
        request = executor_pb2.DisposeExecutorRequest(executor=nobody)
        while not self._closed.wait(_PROBE_INTERVAL_S):
            try:
                self._stub.DisposeExecutor(request, timeout=self._timeout_s)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                    self._lose(f'did not answer for {self._timeout_s:g} s')
                elif error.code() in _LOST:
                    self._lose(f'was lost ({error.code().name})')
            except ValueError:
                return


def _write(array, message):
    """Fills in an executor_pb2.Value in place.

    As TFF does it, but that copies a tensor once for every message around it: a
    ResNet-50 took seconds.
    """
    # Also the representation of scalars, and of the type of others.
    scalar = array if array.ndim == 0 else np.zeros([], array.dtype)
    proto, _ = tff.framework.serialize_value(scalar[()], tff.TensorType(array.dtype.type))
    if array.ndim == 0:
        message.CopyFrom(proto)
        return
    message.array.dtype = proto.array.dtype
    message.array.shape.dim.extend(array.shape)
    message.array.content = array.tobytes()


@tff.tensorflow.computation
def _command_line():
    # Its own arguments, as the kernel shows them to the worker itself.
    lines = tf.data.TextLineDataset('/proc/self/cmdline')
    return (lines.reduce(tf.constant(''), lambda text, line: text + line),)


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
        kind = ValueError if any(isinstance(e, ValueError) for e in errors) else RuntimeError
        raise kind('; '.join(str(error) for error in errors))
    return workers


def run_on_each(workers: Sequence[RemoteWorker], do) -> list[Exception]:
    """Calls `do(worker)` for all at the same time; returns what they raised."""
    errors = []

    def run(worker):
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

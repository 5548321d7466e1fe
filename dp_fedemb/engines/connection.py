"""The gRPC connection to a worker, local or remote: errors that say what happened.

Speaks TFF's executor protocol (tensorflow_federated/proto/v0/executor.proto). TFF's own
stub tries a worker that died again for ever; here that is an error which names it.
"""

import contextlib
import threading
import time
from typing import Any, NoReturn, Optional

import grpc
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import executor_pb2
from tensorflow_federated.proto.v0 import executor_pb2_grpc

from dp_fedemb.engines import worker_process

_PROBE_INTERVAL_S = 1.0
# By so much later than its deadline comes the end of a question only where this process
# itself was stopped (Ctrl-Z, a lid that is closed) or got no time.
_LATE_S = 0.5
# By so much later than its connections may the end of a process show, on a busy machine.
_END_S = 20.0
# Protocol buffers end at 2 GiB.
_MAX_MESSAGE_BYTES = 2**31 - 1
_CHANNEL_OPTIONS = [
    ('grpc.max_receive_message_length', _MAX_MESSAGE_BYTES),
    ('grpc.max_send_message_length', _MAX_MESSAGE_BYTES),
    # Shorter than the default's second, doubled with every attempt.
    ('grpc.initial_reconnect_backoff_ms', 100),
    # Never through a proxy of the environment.
    ('grpc.enable_http_proxy', 0),
]
# The answers that say that the worker, or what it held for us, is no more.
LOST = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    # It was started anew and knows nothing of what was sent before.
    grpc.StatusCode.FAILED_PRECONDITION,
)


class WorkerLostError(worker_process.WorkerError):
    """A worker does not answer any more; its share can be done by another one."""


class Connection(tff.framework.RemoteExecutorStub):
    """Asks one worker; its methods may be called from several threads.

    Attributes:
        address: 'host:port'.
        lost: why the worker cannot be asked any more, None while it can.
    """

    def __init__(
        self,
        address: str,
        timeout_s: float,
        process: Optional[worker_process.WorkerProcess] = None,
    ):
        """Starts to connect.

        Args:
            address: 'host:port'.
            timeout_s: how long a short question may stay unanswered.
            process: the worker, if it is ours; its end explains a lost connection.
        """
        self.address = address
        self.lost: Optional[str] = None
        self._timeout_s = timeout_s
        self._process = process
        self._silent = False
        self._channel = grpc.insecure_channel(address, _CHANNEL_OPTIONS)
        self._stub = executor_pb2_grpc.ExecutorGroupStub(self._channel)
        self._closed = threading.Event()
        # Of computations, which may take as long as they like.
        self._deadline_s: Optional[float] = None

    @property
    def is_ready(self) -> bool:
        """Whether the worker can be asked."""
        return not self._closed.is_set()

    def watch(self) -> None:
        """From here on cuts calls off if the worker falls silent.

        A dead host or cut cable answers nothing at all, and a stopped process leaves its
        connection open, so only a question with a deadline tells. It is asked while the
        worker computes, which may take as long as it likes.
        """
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        nobody = executor_pb2.ExecutorId(id='a sign of life')
        request = executor_pb2.DisposeExecutorRequest(executor=nobody)
        while not self._closed.wait(_PROBE_INTERVAL_S):
            begin = time.monotonic()
            try:
                self._stub.DisposeExecutor(request, timeout=self._timeout_s)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                    if time.monotonic() - begin > self._timeout_s + _LATE_S:
                        continue  # It was not the worker that slept, so ask again.
                    # With its connections open, and so not at its end.
                    self._silent = True
                    self._lose(f'did not answer for {self._timeout_s:g} s')
                elif error.code() in LOST:
                    self._lose(f'was lost ({error.code().name})')
            except ValueError:
                return

    def close(self) -> None:
        """Ends the connection; calls that wait for an answer fail at once."""
        self._closed.set()
        self._channel.close()

    def get_executor(self, request: Any) -> Any:
        return self._ask(self._stub.GetExecutor, request)

    def create_value(self, request: Any) -> Any:
        return self._ask(self._stub.CreateValue, request)

    def create_struct(self, request: Any) -> Any:
        return self._ask(self._stub.CreateStruct, request)

    def create_selection(self, request: Any) -> Any:
        return self._ask(self._stub.CreateSelection, request)

    def create_call(self, request: Any) -> Any:
        return self._ask(self._stub.CreateCall, request)

    def compute(self, request: Any) -> Any:
        return self._ask(self._stub.Compute, request)

    def dispose(self, request: Any) -> None:
        self._forget(self._stub.Dispose, request)

    def dispose_executor(self, request: Any) -> None:
        self._forget(self._stub.DisposeExecutor, request)

    def _ask(self, rpc: Any, request: Any) -> Any:
        if self._closed.is_set():
            self._raise_lost()
        try:
            return rpc(request, timeout=self._deadline_s)
        except grpc.RpcError as error:
            text = ' '.join((error.details() or '').split())
            if error.code() not in LOST:
                raise worker_process.WorkerError(f'worker {self.address}: {text}') from error
            self._lose(f'was lost ({error.code().name}: {text})')
        except ValueError as error:
            # What gRPC raises for a channel that is closed in this moment.
            self._lose(f'was lost ({error})')
        self._raise_lost()

    def _raise_lost(self) -> NoReturn:
        if self._process is not None:
            cut = self.lost is not None and not self._silent
            self._process.check_alive(patience_s=_END_S if cut else 0.0)
        raise WorkerLostError(f'worker {self.address} {self.lost or "is closed"}')

    def _forget(self, rpc: Any, request: Any) -> None:
        """Without an error; the garbage collector calls it too, perhaps after the end."""
        if not self._closed.is_set():
            with contextlib.suppress(grpc.RpcError, ValueError):
                rpc(request, timeout=self._timeout_s)

    def _lose(self, reason: str) -> None:
        if not self._closed.is_set():
            self.lost = self.lost or reason
        self.close()

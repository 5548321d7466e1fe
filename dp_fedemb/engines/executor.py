"""Computations on a worker: sent once, called often, on flat structures of tensors.

Beside `tff.framework.RemoteExecutor`, which serializes a computation in every round and
copies a tensor once for every message around it: a ResNet-50 took seconds a round.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import computation_pb2
from tensorflow_federated.proto.v0 import executor_pb2

from dp_fedemb.engines import connection as connection_lib

Arrays = Sequence[np.ndarray]


class Value:
    """A value that a worker holds for us, until `free`."""

    def __init__(self, executor: 'Executor', reference: executor_pb2.ValueRef):
        self.reference = reference
        self._executor = executor

    def free(self) -> None:
        """Lets the worker forget it."""
        self._executor.dispose(self.reference)


class Executor:
    """Runs computations of a fixed number of clients on one worker."""

    def __init__(self, connection: connection_lib.Connection, num_clients: int = 0):
        """Asks the worker for an executor.

        Args:
            connection: to the worker.
            num_clients: TFF clients of its federated computations.

        Raises:
            WorkerLostError: if the worker does not answer.
        """
        self._connection = connection
        clients = executor_pb2.Cardinality(
            placement=computation_pb2.Placement(uri=tff.CLIENTS.uri), cardinality=num_clients
        )
        request = executor_pb2.GetExecutorRequest(cardinalities=[clients])
        self._id = connection.get_executor(request).executor

    def create_function(self, computation: tff.Computation) -> Value:
        """Sends a computation of flat structures of tensors, or of nothing."""
        compiled = tff.backends.native.desugar_and_transform_to_native(computation)
        message, _ = tff.framework.serialize_value(compiled, computation.type_signature)
        return self._create(executor_pb2.CreateValueRequest(executor=self._id, value=message))

    def create_tensors(self, arrays: Arrays) -> Value:
        """Sends a flat structure of tensors."""
        request = executor_pb2.CreateValueRequest(executor=self._id)
        _write_tensors(arrays, request.value)
        return self._create(request)

    def create_at_server(self, arrays: Arrays, type_spec: tff.FederatedType) -> Value:
        """Sends a flat structure of tensors to the server of a federated computation."""
        return self._create_federated([arrays], type_spec)

    def create_at_clients(
        self, arrays_of_clients: Sequence[Arrays], type_spec: tff.FederatedType
    ) -> Value:
        """Sends every client a flat structure of tensors of its own."""
        return self._create_federated(arrays_of_clients, type_spec)

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
                request = executor_pb2.CreateStructRequest(executor=self._id, element=elements)
                argument = self._connection.create_struct(request).value_ref
                held.append(argument)
            request = executor_pb2.CreateCallRequest(
                executor=self._id, function_ref=function.reference, argument_ref=argument
            )
            result = self._connection.create_call(request).value_ref
            held.append(result)
            request = executor_pb2.ComputeRequest(executor=self._id, value_ref=result)
            answer = self._connection.compute(request).value
        finally:
            self.dispose(*held)
        if answer.WhichOneof('value') == 'federated':
            [answer] = answer.federated.value
        return [
            tff.framework.deserialize_value(element.value)[0]
            for element in answer.struct.element
        ]

    def dispose(self, *references: executor_pb2.ValueRef) -> None:
        """Lets the worker forget values; no error if it is gone itself."""
        if references:
            self._connection.dispose(
                executor_pb2.DisposeRequest(executor=self._id, value_ref=references)
            )

    def close(self) -> None:
        """Lets the worker forget all that it was sent; no error if it is gone itself."""
        self._connection.dispose_executor(
            executor_pb2.DisposeExecutorRequest(executor=self._id)
        )

    def _create_federated(
        self, members: Sequence[Arrays], type_spec: tff.FederatedType
    ) -> Value:
        request = executor_pb2.CreateValueRequest(executor=self._id)
        # A value of nobody, for its description of the type.
        nobody = tff.FederatedType(type_spec.member, tff.CLIENTS)
        proto, _ = tff.framework.serialize_value([], nobody)
        request.value.federated.type.CopyFrom(proto.federated.type)
        request.value.federated.type.all_equal = type_spec.all_equal
        request.value.federated.type.placement.value.uri = type_spec.placement.uri
        for arrays in members:
            _write_tensors(arrays, request.value.federated.value.add())
        return self._create(request)

    def _create(self, request: executor_pb2.CreateValueRequest) -> Value:
        return Value(self, self._connection.create_value(request).value_ref)


def _write_tensors(arrays: Arrays, message: executor_pb2.Value) -> None:
    # Also for no arrays at all: the structure must be there.
    message.struct.SetInParent()
    for array in map(np.asarray, arrays):
        _write(array, message.struct.element.add().value)


def _write(array: np.ndarray, message: executor_pb2.Value) -> None:
    """Fills in a tensor in place."""
    # Also the representation of scalars, and of the type of others.
    scalar = array if array.ndim == 0 else np.zeros([], array.dtype)
    proto, _ = tff.framework.serialize_value(scalar[()], tff.TensorType(array.dtype.type))
    if array.ndim == 0:
        message.CopyFrom(proto)
        return
    message.array.dtype = proto.array.dtype
    message.array.shape.dim.extend(array.shape)
    message.array.content = array.tobytes()

"""Rounds through TFF, with the interface that the in-process engine has too."""

import asyncio
import collections
from concurrent import futures
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb.engines import runtime as runtime_lib


class KeptState:
    """A state that the worker keeps until nobody refers to it any more."""

    def __init__(self, value):
        self.value = value


class TffEngine:
    """Runs a `build_dp_fedemb` process on a `LocalRuntime`, which keeps the state.

    Calling the process would take the state apart and send it to the driver and back in
    every round: with the 24.6 million weights of a ResNet-50 that was 8 s. Here only
    descriptors (row numbers, labels, seeds) go to the worker and metrics come back.
    """

    def __init__(
        self,
        process: tff.learning.templates.LearningProcess,
        runtime: runtime_lib.LocalRuntime,
        num_shards: int | None = None,
    ):
        """Wraps a process.

        Args:
            process: built with `query`, so that a client is a shard, and with `reader`.
            runtime: entered already.
            num_shards: shards per round; one for each client that the runtime runs at
                the same time by default.
        """
        self.num_shards = num_shards or runtime.client_parallelism
        self._process = process
        self._executor = runtime.create_executor(self.num_shards)
        self._next_fn = tff.backends.native.desugar_and_transform_to_native(
            _with_new_state(process.next)
        )
        # The driver's main thread must stay free to be interrupted.
        self._pool = futures.ThreadPoolExecutor(1)

    def initialize(self) -> Any:
        """Returns the state before the first round, NumPy leaves."""
        return self._process.initialize()

    def set_model_weights(self, state: Any, weights: tff.learning.models.ModelWeights) -> Any:
        """Returns the state with other weights; `state` as `fetch` returns it."""
        return self._process.set_model_weights(state, weights)

    def next(self, state: Any, shards: list) -> tff.learning.templates.LearningProcessOutput:
        """Runs one round.

        Args:
            state: as returned by `initialize`, `fetch` or the round before.
            shards: `num_shards` descriptors.

        Returns:
            The state, which the worker keeps (`fetch` brings it), and the metrics.
        """
        return self._wait(self._next(state, shards))

    def send(self, state: Any) -> Any:
        """Returns the state on the worker; `next` does this with any other."""
        return self._wait(self._send(state))

    def fetch(self, state: Any) -> Any:
        """Returns the state with NumPy leaves, from the worker if it is there."""
        if not isinstance(state, KeptState):
            return state
        return self._wait(
            _computed(state.value, self._process.next.type_signature.parameter[0])
        )

    def _wait(self, coroutine):
        return self._pool.submit(asyncio.run, coroutine).result()

    async def _send(self, state):
        if isinstance(state, KeptState):
            return state
        state_type = self._process.next.type_signature.parameter[0]
        state = tff.tensorflow.transform_args(state)
        return KeptState(await self._executor.create_value(state, state_type))

    async def _next(self, state, shards):
        signature = self._process.next.type_signature
        data_type = signature.parameter[1]
        # The executor sends a computation once and keeps it.
        function = await self._executor.create_value(self._next_fn)
        state = (await self._send(state)).value
        data = await self._executor.create_value(shards, data_type)
        argument = await self._executor.create_struct(
            collections.OrderedDict(state=state, data=data)
        )
        output = await self._executor.create_call(function, argument)
        new_state = KeptState(await self._executor.create_selection(output, 0))
        metrics = await self._executor.create_selection(output, 1)
        return tff.learning.templates.LearningProcessOutput(
            new_state, await _computed(metrics, signature.result.metrics)
        )


def _with_new_state(next_fn):
    """The same round, but no part of its state is that of the state before.

    Processes pass parts through, and a worker that keeps a state then keeps the one
    before it, and so all of them.
    """
    state_type, data_type = next_fn.type_signature.parameter

    @tff.tensorflow.computation(state_type.member)
    def made_anew(state):
        return tf.nest.map_structure(tf.identity, state)

    @tff.federated_computation(state_type, data_type)
    def next_with_new_state(state, data):
        output = next_fn(state, data)
        return tff.learning.templates.LearningProcessOutput(
            tff.federated_map(made_anew, output.state), output.metrics
        )

    return next_with_new_state


async def _computed(value, type_spec):
    # With the containers of the process, which the worker does not know of.
    return tff.types.type_to_py_container(await value.compute(), type_spec)

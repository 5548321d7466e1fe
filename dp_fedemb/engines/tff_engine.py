"""The clients' half of a round as a TFF computation, on the worker of a `LocalRuntime`."""

from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any, Optional

import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import engine
from dp_fedemb.engines import runtime as runtime_lib
from dp_fedemb.engines import server_rounds
from dp_fedemb.engines import shard_computation
from dp_fedemb.learning import client_config
from dp_fedemb.models import embedding_model


class TffEngine(server_rounds.ServerRounds):
    """Runs the rounds of `build_dp_fedemb`, a TFF client for every shard.

    The worker broadcasts the weights, maps the shards and sums over the clients; the
    server's half is the driver's, which alone knows the key of the noise.
    """

    def __init__(
        self,
        runtime: runtime_lib.LocalRuntime,
        model: embedding_model.EmbeddingModel,
        config: client_config.ClientConfig,
        *,
        reader: Callable[..., virtual_clients.Shard],
        num_shards: Optional[int] = None,
        **options: Any,
    ):
        """Sends the clients' computation to the worker.

        Args:
            runtime: entered already.
            model: as in `build_dp_fedemb`.
            config: as in `build_dp_fedemb`.
            reader: as in `build_dp_fedemb`.
            num_shards: shards per round; one for each client that the runtime runs at
                the same time by default.
            **options: of `ServerRounds`.
        """
        num_shards = num_shards or runtime.client_parallelism
        super().__init__(model, config, num_shards=num_shards, **options)
        self._work = shard_computation.build(
            model, config, self._query, reader, self._raw_metrics
        )
        computation = build_sum_over_shards(self._work)
        self._public_type, self._shards_type = computation.type_signature.parameter
        self._executor = runtime.create_executor(num_shards)
        self._function = self._executor.create_function(computation)
        # The driver's main thread must stay free to be interrupted.
        self._pool = futures.ThreadPoolExecutor(1)

    def _sum(
        self, weights: Any, params: Any, rate: tf.Tensor, shards: Sequence[engine.Descriptor]
    ) -> Any:
        public = shard_computation.flatten_public(weights, params, rate)
        flat_shards = [shard_computation.flatten_shard(shard) for shard in shards]

        def run() -> list[Any]:
            at_server = self._executor.create_at_server(public, self._public_type)
            at_clients = self._executor.create_at_clients(flat_shards, self._shards_type)
            try:
                return self._executor.call(self._function, [at_server, at_clients])
            finally:
                at_server.free()
                at_clients.free()

        return self._work.pack(self._pool.submit(run).result())


def build_sum_over_shards(work: shard_computation.ShardComputation) -> tff.Computation:
    """Returns the federated computation (public@SERVER, {shard}@CLIENTS) -> sum@SERVER."""

    @tff.federated_computation(
        tff.FederatedType(work.public_type, tff.SERVER),
        tff.FederatedType(work.shard_type, tff.CLIENTS),
    )
    def sum_over_shards(public: tff.Value, shards: tff.Value) -> tff.Value:
        return tff.federated_sum(
            tff.federated_map(work.run, (tff.federated_broadcast(public), shards))
        )

    return sum_over_shards

"""The same rounds without TFF's runtime: for GPUs and for debugging."""

from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import tensorflow as tf

from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import engine
from dp_fedemb.engines import server_rounds
from dp_fedemb.learning import client_config
from dp_fedemb.learning import shard_work
from dp_fedemb.models import embedding_model


class InProcessEngine(server_rounds.ServerRounds):
    """Runs rounds of `build_dp_fedemb` as plain `tf.function`s, shards in threads.

    Attributes:
        work: what does a shard's work; an audit has one that puts canaries in.
    """

    work: Callable[..., shard_work.ShardWork] = shard_work.ShardWork

    def __init__(
        self,
        model: embedding_model.EmbeddingModel,
        config: client_config.ClientConfig,
        *,
        reader: Callable[..., virtual_clients.Shard],
        num_shards: int = 1,
        **options: Any,
    ):
        """Creates one set of model variables per shard.

        Args:
            model: as in `build_dp_fedemb`.
            config: as in `build_dp_fedemb`.
            reader: shard descriptor -> its virtual clients, as `ShardWork.run` takes
                them; `virtual_clients.build_reader(store)`.
            num_shards: shards per round; they run side by side in threads.
            **options: of `ServerRounds`.
        """
        super().__init__(model, config, num_shards=num_shards, **options)
        works = [self.work(model, config, self._query) for _ in range(num_shards)]
        self._functions = [_function(work, reader) for work in works]
        self._pool = futures.ThreadPoolExecutor(num_shards)

    def _sum(
        self, weights: Any, params: Any, rate: tf.Tensor, shards: Sequence[engine.Descriptor]
    ) -> Any:
        def run(function: Any, shard: engine.Descriptor) -> Any:
            shard = {name: tf.convert_to_tensor(value) for name, value in shard.items()}
            # Traced once, whatever the sizes of the first shard are.
            specs = {
                name: tf.TensorSpec([None, *value.shape[1:]], value.dtype)
                for name, value in shard.items()
            }
            traced = function.get_concrete_function(weights, params, rate, specs)
            return traced(weights, params, rate, shard)

        return self._added(list(self._pool.map(run, self._functions, shards)))


def _function(work: shard_work.ShardWork, reader: Callable[..., virtual_clients.Shard]) -> Any:
    return tf.function(
        lambda weights, params, rate, shard: work.run(weights, params, rate, reader(shard))
    )

"""The same rounds without TFF's runtime: for GPUs and for debugging."""

import collections
from concurrent import futures
from typing import Any

import tensorflow as tf

from dp_fedemb.learning import client_config
from dp_fedemb.learning import server_rounds
from dp_fedemb.learning import shard_work
from dp_fedemb.models import embedding_model


class InProcessEngine(server_rounds.ServerRounds):
    """Runs rounds of `build_dp_fedemb` as plain `tf.function`s, shards in threads."""

    def __init__(
        self,
        model: embedding_model.EmbeddingModel,
        config: client_config.ClientConfig,
        *,
        reader,
        num_shards: int = 1,
        **options: Any,
    ):
        """Creates one set of model variables per shard.

        Args:
            model: as in `build_dp_fedemb`.
            config: as in `build_dp_fedemb`.
            reader: shard descriptor -> data set of virtual clients.
            num_shards: shards per round; they run side by side in threads.
            **options: of `ServerRounds`.
        """
        super().__init__(model, config, num_shards=num_shards, **options)
        self._reader = reader
        self._works = [
            shard_work.ShardWork(model, config, self._query) for _ in range(num_shards)
        ]
        self._pool = futures.ThreadPoolExecutor(num_shards)

    def _partial_sums(self, weights, params, rate, shards):
        def run(work, shard):
            shard = collections.OrderedDict(
                (key, tf.convert_to_tensor(value)) for key, value in shard.items()
            )
            return work.run(weights, params, rate, self._reader(shard))

        return list(self._pool.map(run, self._works, shards))

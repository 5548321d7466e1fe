"""The same rounds without TFF's runtime: for GPUs and for debugging.

Built from the same functions as the TFF process (`ShardWork`, the query, the
server optimizer), with the same state, so the two give the same result.
"""

import collections
from concurrent import futures
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from dp_fedemb.learning import client_config
from dp_fedemb.learning import schedules
from dp_fedemb.learning import shard_work
from dp_fedemb.models import embedding_model


class InProcessEngine:
    """Runs rounds of `build_dp_fedemb` as plain `tf.function`s."""

    def __init__(
        self,
        model: embedding_model.EmbeddingModel,
        config: client_config.ClientConfig,
        *,
        query: tfp.SumAggregationDPQuery,
        server_optimizer: tff.learning.optimizers.Optimizer,
        reader,
        num_shards: int = 1,
        learning_rate_schedule: schedules.Schedule = schedules.constant,
        raw_metrics: bool = False,
    ):
        """Creates one set of model variables per shard.

        Args:
            model: as in `build_dp_fedemb`.
            config: as in `build_dp_fedemb`.
            query: as in `build_dp_fedemb`.
            server_optimizer: as in `build_dp_fedemb`.
            reader: shard descriptor -> data set of virtual clients.
            num_shards: shards per round; they run side by side in threads.
            learning_rate_schedule: as in `build_dp_fedemb`.
            raw_metrics: as in `build_dp_fedemb`.
        """
        self._model = model
        self._query = query
        self._optimizer = server_optimizer
        self._reader = reader
        self._raw_metrics = raw_metrics
        self._works = [shard_work.ShardWork(model, config, query) for _ in range(num_shards)]
        self._pool = futures.ThreadPoolExecutor(num_shards)
        self._rate_at = lambda round_num: tf.cast(
            config.learning_rate * learning_rate_schedule(round_num), tf.float32
        )
        self._server = tf.function(self._server_step)

    def initialize(self) -> Any:
        """Returns the state before the first round."""
        backbone = self._model.build_backbone()
        weights = tff.learning.models.ModelWeights(
            [tf.identity(w) for w in backbone.trainable_variables],
            [tf.identity(w) for w in backbone.non_trainable_variables],
        )
        specs = [tf.TensorSpec(w.shape, w.dtype) for w in weights.trainable]
        return tff.learning.templates.LearningAlgorithmState(
            global_model_weights=weights,
            distributor=(),
            client_work=tf.constant(0),
            aggregator=self._query.initial_global_state(),
            finalizer=self._optimizer.initialize(specs),
        )

    def set_model_weights(self, state: Any, weights: tff.learning.models.ModelWeights) -> Any:
        """Returns the state with other weights."""
        return tff.learning.templates.LearningAlgorithmState(
            weights, state.distributor, state.client_work, state.aggregator, state.finalizer
        )

    def next(self, state: Any, shards: list) -> tff.learning.templates.LearningProcessOutput:
        """Runs one round.

        Args:
            state: as returned by `initialize` or by the round before.
            shards: `num_shards` descriptors.

        Raises:
            ValueError: for another number of shards.
        """
        if len(shards) != len(self._works):
            raise ValueError(
                f'{len(shards)} shards: expected {len(self._works)}, one per set of variables'
            )
        weights = tff.learning.models.ModelWeights(
            [tf.convert_to_tensor(w) for w in state.global_model_weights.trainable],
            [tf.convert_to_tensor(w) for w in state.global_model_weights.non_trainable],
        )
        params = self._query.derive_sample_params(state.aggregator)
        rate = self._rate_at(state.client_work)

        def run(work, shard):
            shard = collections.OrderedDict(
                (key, tf.convert_to_tensor(value)) for key, value in shard.items()
            )
            return work.run(weights, params, rate, self._reader(shard))

        partials = list(self._pool.map(run, self._works, shards))
        total, measurements = tf.nest.map_structure(lambda *parts: tf.add_n(parts), *partials)
        update, query_state, _ = self._query.get_noised_result(total, state.aggregator)
        optimizer_state, trainable, non_finite = self._server(
            state.finalizer, weights.trainable, update
        )
        new_state = tff.learning.templates.LearningAlgorithmState(
            global_model_weights=tff.learning.models.ModelWeights(
                trainable, weights.non_trainable
            ),
            distributor=state.distributor,
            client_work=state.client_work + 1,
            aggregator=query_state,
            finalizer=optimizer_state,
        )
        metrics = collections.OrderedDict(
            client_work=measurements if self._raw_metrics else collections.OrderedDict(),
            aggregator=self._query.derive_metrics(query_state),
            finalizer=collections.OrderedDict(update_non_finite=non_finite),
        )
        return tff.learning.templates.LearningProcessOutput(new_state, metrics)

    def _server_step(self, state, weights, update):
        new_state, new_weights = self._optimizer.next(state, weights, update)
        reject, measurements = tff.learning.templates.reject_non_finite_update(state, update)
        keep = lambda old, new: tf.where(reject, old, new)
        return (
            tf.nest.map_structure(keep, state, new_state),
            tf.nest.map_structure(keep, weights, new_weights),
            measurements['update_non_finite'],
        )

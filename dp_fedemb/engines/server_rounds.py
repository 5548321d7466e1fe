"""The server's half of a round, on the driver, whatever runs the shards.

Built from the same functions as the process of `learning.build_dp_fedemb` (the query,
the server optimizer), with the same state, so both give the same result. Where the
shards run, on TFF's worker, in threads or on other machines, is the subclass's affair.
"""

import abc
import collections
from collections.abc import Callable, Sequence
from typing import Any, Optional, Union

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb.aggregation import centred
from dp_fedemb.aggregation import sum_query
from dp_fedemb.engines import engine
from dp_fedemb.learning import client_config
from dp_fedemb.learning import schedules
from dp_fedemb.models import embedding_model


class ServerRounds(abc.ABC):
    """Runs rounds of `build_dp_fedemb`; a subclass says where the shards run."""

    def __init__(
        self,
        model: embedding_model.EmbeddingModel,
        config: client_config.ClientConfig,
        *,
        query: Union[sum_query.MeanQuery, centred.CentredQuery],
        server_optimizer: tff.learning.optimizers.Optimizer,
        num_shards: int,
        learning_rate_schedule: schedules.Schedule = schedules.constant,
        raw_metrics: bool = False,
        centre: Optional[Callable[[Any, tf.Tensor, int], Any]] = None,
    ):
        """Keeps what a round needs.

        Args:
            model: as in `build_dp_fedemb`.
            config: as in `build_dp_fedemb`.
            query: of `aggregation.build_query`, or around it a `CentredQuery`.
            server_optimizer: as in `build_dp_fedemb`.
            num_shards: shards per round.
            learning_rate_schedule: as in `build_dp_fedemb`.
            raw_metrics: as in `build_dp_fedemb`.
            centre: weights, rate and round -> the public update that a
                `centred.CentredQuery` clips around.
        """
        self._centre = centre
        self.num_shards = num_shards
        self._model = model
        self._config = config
        self._query = query
        self._optimizer = server_optimizer
        self._raw_metrics = raw_metrics
        self._rate_at = lambda round_num: tf.cast(
            config.learning_rate * learning_rate_schedule(round_num), tf.float32
        )
        self._server = tf.function(self._server_step)
        self._add = tf.function(
            lambda partials: tf.nest.map_structure(lambda *parts: tf.add_n(parts), *partials)
        )

    @abc.abstractmethod
    def _sum(
        self, weights: Any, params: Any, rate: tf.Tensor, shards: Sequence[engine.Descriptor]
    ) -> Any:
        """Returns what `ShardWork.run` returns, summed over the shards."""

    def _added(self, partials: Sequence[Any]) -> Any:
        """Returns the sum of partial sums, in their order."""
        return self._add(list(partials))

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

    def send(self, state: Any) -> Any:
        """Returns the state, which is here already."""
        return state

    def fetch(self, state: Any) -> Any:
        """Returns the state, which is here already."""
        return state

    def next(
        self,
        state: Any,
        shards: Sequence[engine.Descriptor],
        commit: Optional[engine.Commit] = None,
    ) -> tff.learning.templates.LearningProcessOutput:
        """Runs one round; see `engine.Engine.next`."""
        if len(shards) != self.num_shards:
            raise ValueError(
                f'{len(shards)} shards: expected {self.num_shards}, as the engine was built for'
            )
        weights = tff.learning.models.ModelWeights(
            [tf.convert_to_tensor(w) for w in state.global_model_weights.trainable],
            [tf.convert_to_tensor(w) for w in state.global_model_weights.non_trainable],
        )
        rate = self._rate_at(state.client_work)
        query_state = state.aggregator
        if self._centre is not None:
            centre = self._centre(weights, rate, int(state.client_work))
            query_state = self._query.with_centre(query_state, centre)
        params = self._query.derive_sample_params(query_state)
        total, measurements = self._sum(weights, params, rate, shards)
        if commit is not None:
            attempt = commit([np.asarray(leaf) for leaf in tf.nest.flatten(total)])
            query_state = self._query.with_attempt(query_state, attempt)
        trainable, query_state, optimizer_state, non_finite = self._server(
            total, query_state, state.finalizer, weights.trainable
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

    def _server_step(
        self, total: Any, query_state: Any, optimizer_state: Any, weights: Any
    ) -> tuple[Any, Any, Any, tf.Tensor]:
        """Returns the new weights and states, and whether the update was not finite."""
        update, new_query_state, _ = self._query.get_noised_result(total, query_state)
        new_state, new_weights = self._optimizer.next(optimizer_state, weights, update)
        reject, rejected = tff.learning.templates.reject_non_finite_update(
            optimizer_state, update
        )
        keep = lambda old, new: tf.where(reject, old, new)
        return (
            tf.nest.map_structure(keep, weights, new_weights),
            new_query_state,
            tf.nest.map_structure(keep, optimizer_state, new_state),
            rejected['update_non_finite'],
        )

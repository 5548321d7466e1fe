"""What one TFF client does: the virtual clients of its shard, in turn.

One TFF client per core runs its share of the round's virtual clients inside one
graph. Each is fine-tuned, clipped by the mechanism's query and added in place to
one partial sum. Memory and per-client cost then grow with the cores and not with
the cohort; the server adds the partial sums and noises the total once, which is
the same release as if every virtual client had been a TFF client of its own.
"""

import collections
import functools
from typing import Any, Union

import tensorflow as tf
import tensorflow_privacy as tfp

from dp_fedemb.aggregation import fixed_point
from dp_fedemb.data import virtual_clients
from dp_fedemb.learning import client_config
from dp_fedemb.learning import local_fine_tuning
from dp_fedemb.models import embedding_model


class ShardWork:
    """Fine-tunes, clips and sums the virtual clients of one shard."""

    def __init__(
        self,
        model: embedding_model.EmbeddingModel,
        config: client_config.ClientConfig,
        query: tfp.SumAggregationDPQuery,
    ):
        """Creates the variables in the current graph (or eagerly).

        Args:
            model: what is trained.
            config: how it is fine-tuned locally.
            query: clips a record and says what is summed; its records must be
                accumulated by addition.
        """
        self._fine_tuning = local_fine_tuning.LocalFineTuning(model, config)
        self._query = query
        specs = [
            tf.TensorSpec(weight.shape, weight.dtype)
            for weight in self._fine_tuning.backbone.trainable_variables
        ]
        self._zero = query.initial_sample_state(specs)
        self._sums = tf.nest.map_structure(
            lambda zero: tf.Variable(zero, trainable=False), self._zero
        )
        self.run = tf.function(self._run)

    def _run(
        self,
        weights: Any,
        query_params: Any,
        learning_rate: tf.Tensor,
        shard: Union[virtual_clients.Shard, tf.data.Dataset],
    ) -> tuple[Any, collections.OrderedDict]:
        """Runs the shard.

        Args:
            weights: the round's `ModelWeights` of the backbone.
            query_params: the query's sample parameters of this round.
            learning_rate: float32 scalar, the backbone's.
            shard: virtual clients; a data set has elements as in
                `local_fine_tuning.virtual_client_spec`.

        Returns:
            The sum of the preprocessed records (structure of the query's sample
            state), and raw measurements summed over the shard: `virtual_clients`
            with at least one example, `loss`, `update_norm` before clipping and
            `non_finite` updates.
        """
        for variable in tf.nest.flatten(self._sums):
            variable.assign(tf.zeros_like(variable))
        self._fine_tuning.load_frozen(weights.non_trainable)
        theta = [tf.identity(weight) for weight in weights.trainable]
        measured = collections.OrderedDict(
            virtual_clients=0.0, loss=0.0, update_norm=0.0, non_finite=0.0
        )
        add = functools.partial(self._add, theta, query_params, learning_rate)
        if isinstance(shard, virtual_clients.Shard):
            for index in tf.range(tf.size(shard.splits) - 1):
                measured = add(shard.client(index), measured)
        else:
            # An iterator, so that the loop is part of this graph. Over the data set itself
            # it would be a function of the data set, which TensorFlow optimizes and sets
            # up anew in every round: 0.1 s per shard.
            for client in iter(shard):
                measured = add(client, measured)
        return tf.nest.map_structure(tf.identity, self._sums), measured

    def _add(
        self,
        theta: list[tf.Tensor],
        query_params: Any,
        learning_rate: tf.Tensor,
        client: collections.OrderedDict,
        measured: collections.OrderedDict,
    ) -> collections.OrderedDict:
        """Fine-tunes one virtual client and adds its record to the sums."""
        delta, loss = self._fine_tuning.update(theta, client, learning_rate)
        record = self._query.preprocess_record(query_params, delta)
        for total, part in zip(tf.nest.flatten(self._sums), tf.nest.flatten(record)):
            total.assign_add(part)
        # The same operations as in the clip, so the graph computes the norm once.
        norm = tf.cast(fixed_point.record_norm(delta), tf.float32)
        usable = tf.math.is_finite(norm)
        return collections.OrderedDict(
            virtual_clients=measured['virtual_clients']
            + tf.cast(tf.size(client['labels']) > 0, tf.float32),
            loss=measured['loss'] + tf.where(usable, loss, 0.0),
            update_norm=measured['update_norm'] + tf.where(usable, norm, 0.0),
            non_finite=measured['non_finite'] + tf.cast(~usable, tf.float32),
        )


class SumOnlyQuery(tfp.SumAggregationDPQuery):
    """Passes records on as they are, for an aggregator that does its own clipping."""

    def get_noised_result(self, sample_state: Any, global_state: Any) -> Any:
        raise ValueError('SumOnlyQuery releases nothing: the model aggregator does')

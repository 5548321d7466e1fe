"""A shard's work as a TFF computation of flat structures, which a worker can be sent."""

import collections
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import engine
from dp_fedemb.learning import client_config
from dp_fedemb.learning import shard_work
from dp_fedemb.models import embedding_model


class ShardComputation(NamedTuple):
    """`run` takes (public values, shard descriptor), both flat, and returns flat sums.

    Attributes:
        run: the computation, without placements.
        structure: of what `ShardWork.run` returns, with None for a tensor.
    """

    run: tff.Computation
    structure: Any

    @property
    def public_type(self) -> tff.StructType:
        """Of the round's weights, query parameters and learning rate."""
        return self.run.type_signature.parameter[0]

    @property
    def shard_type(self) -> tff.StructType:
        """Of one descriptor."""
        return self.run.type_signature.parameter[1]

    def pack(self, flat: Sequence[Any]) -> Any:
        """Returns results of `run` as `ShardWork.run` returns them."""
        return tf.nest.pack_sequence_as(self.structure, list(flat))


def flatten_public(weights: Any, params: Any, rate: Any) -> list[np.ndarray]:
    """Returns what all shards of a round are given, as `run` takes it."""
    return [np.asarray(leaf) for leaf in tf.nest.flatten((weights, params, rate))]


def flatten_shard(shard: engine.Descriptor) -> list[np.ndarray]:
    """Returns a descriptor as `run` takes it."""
    return [np.asarray(shard[name]) for name in virtual_clients.SHARD_SPEC]


def build(
    model: embedding_model.EmbeddingModel,
    config: client_config.ClientConfig,
    query: tfp.SumAggregationDPQuery,
    reader: Callable[..., virtual_clients.Shard],
    raw_metrics: bool = False,
) -> ShardComputation:
    """Returns the work of a shard; arguments as those of `InProcessEngine`.

    Without `raw_metrics` the measurements never leave the worker.
    """
    backbone = model.build_backbone()
    weights = tff.learning.models.ModelWeights(
        list(backbone.trainable_variables), list(backbone.non_trainable_variables)
    )
    params = query.derive_sample_params(query.initial_global_state())
    public = (weights, params, tf.constant(0.0))
    structures = []

    @tff.tensorflow.computation(
        tff.StructType([_tensor_type(leaf) for leaf in tf.nest.flatten(public)]),
        tff.StructType([_tensor_type(spec) for spec in virtual_clients.SHARD_SPEC.values()]),
    )
    def run_shard(flat_public: Any, flat_shard: Any) -> tuple[tf.Tensor, ...]:
        weights, params, rate = tf.nest.pack_sequence_as(public, list(flat_public))
        shard = collections.OrderedDict(zip(virtual_clients.SHARD_SPEC, flat_shard))
        work = shard_work.ShardWork(model, config, query)
        total, measurements = work.run(weights, params, rate, reader(shard))
        result = total, measurements if raw_metrics else collections.OrderedDict()
        structures.append(tf.nest.map_structure(lambda _: None, result))
        return tuple(tf.nest.flatten(result))

    return ShardComputation(run_shard, structures[-1])


def _tensor_type(spec: Any) -> tff.TensorType:
    return tff.TensorType(spec.dtype.as_numpy_dtype, spec.shape)

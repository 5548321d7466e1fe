"""DP-FedEmb as a TFF learning process.

Xu et al., *Learning to Generate Image Embeddings with User-level Differential
Privacy*, CVPR 2023 (arXiv 2211.10844), Algorithm 1. One round:

1. broadcast the backbone and the query's parameters (clip norm, ...);
2. every virtual client fine-tunes the backbone with a fresh head of its own;
3. only the backbone's update leaves the client, clipped over its concatenation;
4. the server adds the updates and the noise, and divides by a public constant;
5. the server optimizer applies the result.
"""

import collections
from collections.abc import Callable
import functools
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from dp_fedemb.aggregation import sum_query
from dp_fedemb.data import virtual_clients
from dp_fedemb.learning import client_config
from dp_fedemb.learning import local_fine_tuning
from dp_fedemb.learning import schedules
from dp_fedemb.learning import shard_work
from dp_fedemb.models import embedding_model


def build_dp_fedemb(
    model: embedding_model.EmbeddingModel,
    config: client_config.ClientConfig = client_config.ClientConfig(),
    *,  # Callers pass below args by name.
    query: Optional[tfp.SumAggregationDPQuery] = None,
    model_aggregator: Optional[tff.aggregators.UnweightedAggregationFactory] = None,
    server_optimizer: Optional[tff.learning.optimizers.Optimizer] = None,
    learning_rate_schedule: schedules.Schedule = schedules.constant,
    raw_metrics: bool = False,
    reader: Optional[Callable[..., virtual_clients.Shard]] = None,
) -> tff.learning.templates.LearningProcess:
    """Builds the learning process.

    The data of a TFF client is a sequence of virtual clients
    (`local_fine_tuning.virtual_client_spec`), or with `reader` a descriptor of some
    (`virtual_clients.SHARD_SPEC`), whose examples it reads itself. With `query`, a TFF
    client is a shard: it may hold any number of virtual clients, and each is one record
    of the query. With `model_aggregator`, one TFF client is one record, so give it one
    virtual client; any TFF aggregator can be plugged in there.

    Args:
        model: backbone, head and what an example is.
        config: local fine-tuning.
        query: sums, clips and noises; usually `dp_fedemb.aggregation.build_query`.
            Its result must be the mean update (use `tfp.NormalizedQuery`).
        model_aggregator: aggregation of backbone updates, instead of `query`.
        server_optimizer: applies the aggregated update; SGD with rate 1 by default.
        learning_rate_schedule: maps the round (int32 scalar) to the factor of
            `config.learning_rate` in it.
        raw_metrics: adds the mean training loss and update norm to the metrics.
            They are computed from users' data WITHOUT noise, outside the guarantee.
        reader: `virtual_clients.build_reader(store)`. With `query`, faster than
            sequences: no data set is set up.

    Returns:
        A process whose state is `tff.learning.templates.LearningAlgorithmState` and
        whose model weights are the backbone's, `tff.learning.models.ModelWeights`.

    Raises:
        ValueError: unless exactly one of `query` and `model_aggregator` is given, and
            the query's noise can be drawn in a graph.
    """
    if (query is None) == (model_aggregator is None):
        raise ValueError(
            f'query={query!r}, model_aggregator={model_aggregator!r}: expected exactly one'
            ' of the two; aggregation.build_query(run, specs, in_graph=True) makes a query'
        )
    if isinstance(query, sum_query.MeanQuery) and not query.noise.in_graph:
        raise ValueError(
            'query: its noise is drawn on the driver, and TFF runs this process elsewhere;'
            ' use aggregation.build_query(run, specs, in_graph=True), or an engine'
        )
    if server_optimizer is None:
        server_optimizer = tff.learning.optimizers.build_sgdm(1.0)

    @tff.tensorflow.computation
    def initial_weights() -> Any:
        backbone = model.build_backbone()
        return tff.learning.models.ModelWeights(
            trainable=list(backbone.trainable_variables),
            non_trainable=list(backbone.non_trainable_variables),
        )

    weights_type = initial_weights.type_signature.result
    sequence_type = tff.SequenceType(
        tff.types.tensorflow_to_type(local_fine_tuning.virtual_client_spec(model.example_spec))
    )
    descriptor_type = tff.types.tensorflow_to_type(virtual_clients.SHARD_SPEC)
    finalizer = tff.learning.templates.build_apply_optimizer_finalizer(
        server_optimizer, weights_type
    )

    @tff.tensorflow.computation(np.int32)
    def rate_at(round_num: Any) -> tf.Tensor:
        return tf.cast(config.learning_rate * learning_rate_schedule(round_num), tf.float32)

    def run_clients(
        query: Any, weights: Any, params: Any, learning_rate: Any, clients: Any
    ) -> Any:
        work = shard_work.ShardWork(model, config, query)
        return work.run(weights, params, learning_rate, clients)

    if query is not None:
        data_type = sequence_type if reader is None else descriptor_type

        def read_and_run(weights: Any, params: Any, learning_rate: Any, data: Any) -> Any:
            clients = data if reader is None else reader(data)
            return run_clients(query, weights, params, learning_rate, clients)

        return _compose_sharded(
            initial_weights, finalizer, query, rate_at, data_type, raw_metrics, read_and_run
        )
    client_work = _build_client_work(
        weights_type,
        rate_at,
        sequence_type,
        raw_metrics,
        functools.partial(run_clients, shard_work.SumOnlyQuery()),
    )
    aggregator = tff.aggregators.as_weighted_aggregator(model_aggregator)
    process = tff.learning.templates.compose_learning_process(
        initial_weights,
        tff.learning.templates.build_broadcast_process(weights_type),
        client_work,
        aggregator.create(weights_type.trainable, tff.TensorType(np.float32)),
        finalizer,
    )
    if reader is None:
        return process

    @tff.tensorflow.computation(descriptor_type)
    def read_sequence(shard: Any) -> tf.data.Dataset:
        return virtual_clients.as_sequence(reader, shard)

    # TFF's templates take no clients' data but sequences.
    return tff.simulation.compose_dataset_computation_with_learning_process(
        read_sequence, process
    )


@tff.tensorflow.computation
def _first_round() -> tf.Tensor:
    return tf.constant(0, tf.int32)


@tff.tensorflow.computation(np.int32)
def _next_round(round_num: Any) -> Any:
    return round_num + 1


def _build_client_work(
    weights_type: tff.Type,
    rate_at: tff.Computation,
    data_type: tff.Type,
    raw_metrics: bool,
    run_clients: Callable[..., Any],
) -> tff.learning.templates.ClientWorkProcess:
    """One TFF client = one record: the plain path, for any aggregator."""

    @tff.tensorflow.computation(weights_type, rate_at.type_signature.result, data_type)
    def fine_tune(weights: Any, learning_rate: Any, data: Any) -> Any:
        update, measurements = run_clients(weights, (), learning_rate, data)
        result = tff.learning.templates.ClientResult(
            update=update, update_weight=tf.constant(1.0)
        )
        return result, measurements

    @tff.federated_computation
    def initialize() -> Any:
        return tff.federated_eval(_first_round, tff.SERVER)

    @tff.federated_computation(
        initialize.type_signature.result,
        tff.FederatedType(weights_type, tff.CLIENTS),
        tff.FederatedType(data_type, tff.CLIENTS),
    )
    def next_fn(round_num: Any, weights: Any, client_data: Any) -> Any:
        rate = tff.federated_broadcast(tff.federated_map(rate_at, round_num))
        result, measurements = tff.federated_map(fine_tune, (weights, rate, client_data))
        return tff.templates.MeasuredProcessOutput(
            state=tff.federated_map(_next_round, round_num),
            result=result,
            measurements=_released(measurements, raw_metrics),
        )

    return tff.learning.templates.ClientWorkProcess(initialize, next_fn)


def _compose_sharded(
    initial_weights: tff.Computation,
    finalizer: tff.templates.MeasuredProcess,
    query: tfp.SumAggregationDPQuery,
    rate_at: tff.Computation,
    data_type: tff.Type,
    raw_metrics: bool,
    run_clients: Callable[..., Any],
) -> tff.learning.templates.LearningProcess:
    """One TFF client = one shard of virtual clients: the fast path.

    `compose_learning_process` has no way to hand the aggregator's state (the clip
    norm of the round) to the client work, which is why this is written out.
    """
    weights_type = initial_weights.type_signature.result
    initial_query_state = tff.tensorflow.computation(query.initial_global_state)
    query_state_type = initial_query_state.type_signature.result
    sample_params = tff.tensorflow.computation(query.derive_sample_params, query_state_type)

    run_shard = tff.tensorflow.computation(
        run_clients,
        weights_type,
        sample_params.type_signature.result,
        rate_at.type_signature.result,
        data_type,
    )
    partial_sum_type = run_shard.type_signature.result[0]

    @tff.tensorflow.computation(partial_sum_type, query_state_type)
    def release(total: Any, state: Any) -> Any:
        result, new_state, _ = query.get_noised_result(total, state)
        return result, new_state

    query_metrics = tff.tensorflow.computation(query.derive_metrics, query_state_type)

    @tff.federated_computation
    def initialize() -> Any:
        return tff.federated_zip(
            tff.learning.templates.LearningAlgorithmState(
                global_model_weights=tff.federated_eval(initial_weights, tff.SERVER),
                distributor=tff.federated_value((), tff.SERVER),
                client_work=tff.federated_eval(_first_round, tff.SERVER),
                aggregator=tff.federated_eval(initial_query_state, tff.SERVER),
                finalizer=finalizer.initialize(),
            )
        )

    state_type = initialize.type_signature.result

    @tff.federated_computation(state_type, tff.FederatedType(data_type, tff.CLIENTS))
    def next_fn(state: Any, client_data: Any) -> Any:
        weights = tff.federated_broadcast(state.global_model_weights)
        params = tff.federated_broadcast(tff.federated_map(sample_params, state.aggregator))
        rate = tff.federated_broadcast(tff.federated_map(rate_at, state.client_work))
        partial_sums, measurements = tff.federated_map(
            run_shard, (weights, params, rate, client_data)
        )
        total = tff.federated_sum(partial_sums)
        update, query_state = tff.federated_map(release, (total, state.aggregator))
        applied = finalizer.next(state.finalizer, state.global_model_weights, update)
        new_state = tff.learning.templates.LearningAlgorithmState(
            global_model_weights=applied.result,
            distributor=state.distributor,
            client_work=tff.federated_map(_next_round, state.client_work),
            aggregator=query_state,
            finalizer=applied.state,
        )
        metrics = collections.OrderedDict(
            client_work=_released(measurements, raw_metrics),
            aggregator=tff.federated_map(query_metrics, query_state),
            finalizer=applied.measurements,
        )
        return tff.learning.templates.LearningProcessOutput(
            tff.federated_zip(new_state), tff.federated_zip(metrics)
        )

    @tff.tensorflow.computation(state_type.member)
    def get_model_weights(state: Any) -> Any:
        return state.global_model_weights

    @tff.tensorflow.computation(state_type.member, weights_type)
    def set_model_weights(state: Any, weights: Any) -> Any:
        return tff.learning.templates.LearningAlgorithmState(
            weights, state.distributor, state.client_work, state.aggregator, state.finalizer
        )

    return tff.learning.templates.LearningProcess(
        initialize, next_fn, get_model_weights, set_model_weights
    )


@tff.tensorflow.computation
def _no_metrics() -> collections.OrderedDict:
    return collections.OrderedDict()


def _released(measurements: Any, raw_metrics: bool) -> Any:
    """Sums the clients' raw measurements, or keeps them on the clients."""
    if raw_metrics:
        return tff.federated_sum(measurements)
    return tff.federated_eval(_no_metrics, tff.SERVER)

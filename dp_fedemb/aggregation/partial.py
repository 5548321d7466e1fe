"""Partial aggregation: only selected parts of the update leave the client.

Xu et al. (CVPR 2023), Algorithm 1: the backbone's update is aggregated, under
DP, and the head stays where it was trained. As a factory of its own it gives
the same property to any `tff.learning` algorithm that takes a
`model_aggregator`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Union

import tensorflow as tf
import tensorflow_federated as tff

Selector = Union[Sequence[int], Callable[[tff.Type], Sequence[int]]]


class PartialAggregationFactory(tff.aggregators.UnweightedAggregationFactory):
    """Aggregates selected elements of a structure and nothing of the rest.

    The selected elements go, as one list, through the inner factory, so that a
    DP factory clips and noises them together and sees nothing else. The others
    never leave the clients: their result is zero, which leaves the server's copy
    of those weights where it was.

    >>> backbone_only = PartialAggregationFactory(
    ...     tff.aggregators.DifferentiallyPrivateFactory(query),
    ...     selected=range(num_backbone_weights))
    >>> process = tff.learning.algorithms.build_unweighted_fed_avg(
    ...     model_fn, ..., model_aggregator=backbone_only)
    """

    def __init__(self, inner: tff.aggregators.UnweightedAggregationFactory, selected: Selector):
        """Initialises the factory.

        Args:
            inner: aggregation of the selected part; it gets a list of tensors.
            selected: positions to aggregate among the elements of the update (in
                `tff.learning`, the trainable weights in the order of the Keras
                model), or a function from the update's TFF type to them.

        Raises:
            TypeError: if `inner` is not an unweighted aggregation factory.
        """
        if not isinstance(inner, tff.aggregators.UnweightedAggregationFactory):
            raise TypeError(
                f'inner={inner!r}: expected a tff.aggregators.UnweightedAggregationFactory,'
                ' since weights that depend on a user would not be private'
            )
        self._inner = inner
        self._selected = selected

    def create(self, value_type: Any) -> tff.templates.AggregationProcess:
        """Builds the process for updates of `value_type`, a structure of tensors.

        Raises:
            ValueError: if a selected position does not exist, or none is selected.
        """
        selected = self._selected(value_type) if callable(self._selected) else self._selected
        selected = sorted(set(selected))
        size = len(value_type)
        outside = [index for index in selected if not 0 <= index < size]
        if outside or not selected:
            raise ValueError(
                f'selected={selected}: expected at least one position in [0, {size}) of the'
                f' update {value_type.compact_representation()}'
            )

        whole = None  # The update's structure, known once `select` is traced.

        @tff.tensorflow.computation(value_type)
        def select(value):
            nonlocal whole
            whole = tf.nest.map_structure(tf.TensorSpec.from_tensor, value)
            elements = tf.nest.flatten(value)
            return [elements[index] for index in selected]

        inner_process = self._inner.create(select.type_signature.result)

        @tff.tensorflow.computation(inner_process.next.type_signature.result.result.member)
        def complete(aggregated):
            aggregated = dict(zip(selected, tf.nest.flatten(aggregated)))
            elements = [
                aggregated[index] if index in aggregated else tf.zeros(spec.shape, spec.dtype)
                for index, spec in enumerate(tf.nest.flatten(whole))
            ]
            return tf.nest.pack_sequence_as(whole, elements)

        @tff.federated_computation(
            inner_process.initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
        )
        def next_fn(state, value):
            output = inner_process.next(state, tff.federated_map(select, value))
            return tff.templates.MeasuredProcessOutput(
                state=output.state,
                result=tff.federated_map(complete, output.result),
                measurements=output.measurements,
            )

        return tff.templates.AggregationProcess(inner_process.initialize, next_fn)

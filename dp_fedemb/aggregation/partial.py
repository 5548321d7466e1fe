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

Selection = Sequence[Union[int, str]]


class PartialAggregationFactory(tff.aggregators.UnweightedAggregationFactory):
    """Aggregates selected elements of a structure and nothing of the rest.

    The tensors of the selected elements go, as one flat list, through the inner
    factory, so that a DP factory clips and noises them together and sees nothing else.
    The others never leave the clients: their result is zero, which leaves the server's
    copy of those weights where it was.

    >>> import numpy as np
    >>> backbone_only = PartialAggregationFactory(
    ...     tff.aggregators.SumFactory(), selected=['kernel'])
    >>> process = backbone_only.create(
    ...     tff.to_type([('kernel', (np.float32, [2])), ('head', np.float32)]))
    >>> print(process.next.type_signature.result.result.member.compact_representation())
    <kernel=float32[2],head=float32>
    """

    def __init__(
        self,
        inner: tff.aggregators.UnweightedAggregationFactory,
        selected: Union[Selection, Callable[[tff.Type], Selection]],
    ):
        """Initialises the factory.

        Args:
            inner: aggregation of the selected part; it gets a list of tensors.
            selected: what to aggregate among the elements of the update at its top
                level: their positions, in the order of the TFF structure, or their
                names; an element that is a structure itself goes whole. In
                `tff.learning` the elements are the trainable weights in the order of
                the Keras model. Or a function from the update's TFF type to these.

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
            ValueError: if a selected position or name does not exist, or none is
                selected.
        """
        selected = self._selected(value_type) if callable(self._selected) else self._selected
        positions = _positions(selected, value_type)

        @tff.tensorflow.computation(value_type)
        def select(value: Any) -> list[tf.Tensor]:
            elements = [element for _, element in _elements(value)]
            return [leaf for position in positions for leaf in _leaves(elements[position])]

        inner_process = self._inner.create(select.type_signature.result)

        @tff.tensorflow.computation(inner_process.next.type_signature.result.result.member)
        def complete(aggregated: Any) -> Any:
            leaves = iter(_leaves(aggregated))
            fills = [
                (lambda _: next(leaves)) if position in positions else _zeros
                for position in range(len(value_type))
            ]
            return tff.types.type_to_py_container(
                tff.structure.Struct(
                    (name, _filled(element, fill))
                    for (name, element), fill in zip(_elements(value_type), fills)
                ),
                value_type,
            )

        @tff.federated_computation(
            inner_process.initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
        )
        def next_fn(state: tff.Value, value: tff.Value) -> tff.templates.MeasuredProcessOutput:
            output = inner_process.next(state, tff.federated_map(select, value))
            return tff.templates.MeasuredProcessOutput(
                state=output.state,
                result=tff.federated_map(complete, output.result),
                measurements=output.measurements,
            )

        return tff.templates.AggregationProcess(inner_process.initialize, next_fn)


def _positions(selected: Selection, value_type: tff.Type) -> list[int]:
    """Returns the sorted positions that positions or names stand for."""
    if not isinstance(value_type, tff.StructType):
        raise ValueError(
            f'an update of type {value_type.compact_representation()}: expected a structure,'
            ' of which some elements are selected'
        )
    names = [name for name, _ in _elements(value_type)]
    known: dict[Union[int, str], int] = {
        name: position for position, name in enumerate(names) if name is not None
    }
    known.update((position, position) for position in range(len(names)))
    chosen: list[Union[int, str]] = [selected] if isinstance(selected, str) else [*selected]
    unknown = [item for item in chosen if isinstance(item, (bool, float)) or item not in known]
    if unknown or not chosen:
        named = [name for name in names if name is not None]
        raise ValueError(
            f'selected={chosen}: expected at least one position in [0, {len(names)})'
            f'{f" or name among {named}" if named else ""} of the update'
            f' {value_type.compact_representation()}'
        )
    return sorted({known[item] for item in chosen})


def _elements(value: Any) -> list[tuple[Any, Any]]:
    """Names, None where there is none, and elements of a container or a type of one."""
    if not isinstance(value, tff.StructType):
        value = tff.structure.from_container(value)
    return list(tff.structure.iter_elements(value))


def _leaves(value: Any) -> list[tf.Tensor]:
    """Tensors in the order of the TFF structure, where `tf.nest` would sort names."""
    if tf.is_tensor(value):
        return [value]
    return [leaf for _, element in _elements(value) for leaf in _leaves(element)]


def _filled(type_spec: tff.Type, fill: Callable[[tff.TensorType], tf.Tensor]) -> Any:
    """Returns a structure of a type with a tensor in place of each leaf, in order."""
    if isinstance(type_spec, tff.TensorType):
        return fill(type_spec)
    return tff.structure.Struct(
        (name, _filled(element, fill)) for name, element in _elements(type_spec)
    )


def _zeros(type_spec: tff.TensorType) -> tf.Tensor:
    return tf.zeros(type_spec.shape, type_spec.dtype)

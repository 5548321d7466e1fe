"""Centred clipping: what is clipped is how an update differs from a public one.

If public data say where most updates point, the difference is shorter than the update
and loses less to the clip (the idea of clipping around a known point is that of Karimireddy
et al., *Learning from History for Byzantine Robust Optimization*, ICML 2021, arXiv
2012.10333, algorithm 2, there against attackers). With c the round's public update,

    mean = c + (1/m) (sum of clip_C(update - c) + noise).

c is a function of the released weights and of public data, so all accounting stands: a
record is still a vector of norm at most C, and one that is not there is zero.
"""

import collections
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_privacy as tfp

from dp_fedemb.aggregation import noise as noise_lib
from dp_fedemb.aggregation import sum_query


class CentredState(NamedTuple):
    """State between rounds.

    Attributes:
        inner: of the mechanism.
        centre: c of the coming round, tensors as those of a record.
    """

    inner: Any
    centre: Any


class CentredQuery(tfp.SumAggregationDPQuery):
    """A mechanism whose records are clipped around a public update."""

    def __init__(self, inner: sum_query.MeanQuery, record_specs: sum_query.RecordSpecs):
        """Wraps.

        Args:
            inner: the mechanism.
            record_specs: of the tensors of one record.
        """
        self.inner = inner
        self._specs = list(record_specs)

    @property
    def noise(self) -> noise_lib.NoiseSource:
        """Source of the noise."""
        return self.inner.noise

    def with_attempt(self, global_state: CentredState, attempt: int) -> CentredState:
        """As `ClippedSumQuery.with_attempt`."""
        return global_state._replace(inner=self.inner.with_attempt(global_state.inner, attempt))

    def with_centre(self, global_state: CentredState, centre: Any) -> CentredState:
        """Returns the state in which the coming round is clipped around `centre`."""
        return global_state._replace(centre=list(centre))

    def statistical_distance(self, rounds: int) -> float:
        """As `ClippedSumQuery.statistical_distance`."""
        return self.inner.statistical_distance(rounds)

    def initial_global_state(self) -> CentredState:
        zeros = [tf.zeros(spec.shape, spec.dtype) for spec in self._specs]
        return CentredState(self.inner.initial_global_state(), zeros)

    def initial_sample_state(self, template: Any) -> Any:
        return self.inner.initial_sample_state(template)

    def derive_sample_params(self, global_state: CentredState) -> Any:
        """Returns what a client must know: the mechanism's parameters, and c."""
        inner = self.inner.derive_sample_params(global_state.inner)
        return collections.OrderedDict(inner=inner, centre=global_state.centre)

    def preprocess_record(self, params: Any, record: Any) -> Any:
        """Returns the clipped difference, in grid units; of a zero record, zero.

        A virtual client without examples has a zero update, and would else contribute
        what is clipped of -c: absent and present would then be 2C apart.
        """
        leaves = tf.nest.flatten(record)
        nothing = tf.reduce_all([tf.reduce_all(tf.equal(leaf, 0)) for leaf in leaves])
        differences = [
            tf.where(nothing, leaf, leaf - part) for leaf, part in zip(leaves, params['centre'])
        ]
        return self.inner.preprocess_record(
            params['inner'], tf.nest.pack_sequence_as(record, differences)
        )

    def get_noised_result(
        self, sample_state: Any, global_state: CentredState
    ) -> tuple[Any, CentredState, Any]:
        mean, inner, event = self.inner.get_noised_result(sample_state, global_state.inner)
        mean = tf.nest.map_structure(
            tf.add, mean, tf.nest.pack_sequence_as(mean, list(global_state.centre))
        )
        return mean, CentredState(inner, global_state.centre), event

    def derive_metrics(self, global_state: CentredState) -> collections.OrderedDict:
        """Returns those of the mechanism, and the norm of the last c, which is public."""
        metrics = collections.OrderedDict(self.inner.derive_metrics(global_state.inner))
        metrics['centre_norm'] = tf.linalg.global_norm(list(global_state.centre))
        return metrics

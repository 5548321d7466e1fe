"""What every mechanism's query shares: records on a grid, integer noise, one release.

Conventions (units, sensitivity, who divides by what) are those of
`dp_fedemb.privacy`; a query adds the noise to the SUM of clipped records. Sum and noise
are integers on the grid of `fixed_point`; only what is released is made float32.
"""

import collections
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_privacy as tfp

from dp_fedemb.aggregation import fixed_point
from dp_fedemb.aggregation import noise as noise_lib

# Of one record: normally the trained weights of the backbone.
RecordSpecs = Sequence[tf.TensorSpec]


class ClippedSumQuery(tfp.SumAggregationDPQuery):
    """A sum of clipped records; how it is noised is left to the mechanism.

    The global state has the fields `clip_norm`, C of the coming round, `round_num`, from
    0, `noise`, the state of the noise source, and `attempt` or `attempts`, which tell
    rounds that were computed again from their first time.

    Attributes:
        noise: source of the noise.
        dimension: coordinates of a record.
    """

    def __init__(
        self,
        clip_norm: float,
        noise_stddev: float,
        record_specs: RecordSpecs,
        noise: noise_lib.NoiseSource,
    ):
        """Initialises the query.

        Args:
            clip_norm: L2 bound C of one record before the first round, units of the
                weights.
            noise_stddev: standard deviation per coordinate of one draw while that is C,
                units of the weights.
            record_specs: of the tensors of one record.
            noise: source of the noise.
        """
        self.noise = noise
        self.dimension = sum(spec.shape.num_elements() for spec in record_specs)
        self._clip_norm = clip_norm
        # It stays when C moves.
        self._noise_over_clip = noise_stddev / clip_norm
        self._grid = fixed_point.build(
            self.dimension,
            clip_norm,
            self._noise_over_clip,
            noise.grid_bits,
            noise.least_bits,
        )

    def initial_sample_state(self, template: Any) -> Any:
        """Returns zeros in grid units."""
        return tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, tf.int64), template)

    def derive_sample_params(self, global_state: Any) -> tf.Tensor:
        """Returns C: all that a client must know."""
        return global_state.clip_norm

    def preprocess_record(self, params: tf.Tensor, record: Any) -> Any:
        """Returns the record clipped to C, int64 in grid units."""
        clipped, _ = self._grid.clip(record, params)
        return clipped

    def derive_metrics(self, global_state: Any) -> collections.OrderedDict:
        """Returns C of the coming round, which no raw data enter."""
        return collections.OrderedDict(clip_norm=global_state.clip_norm)

    def with_attempt(self, global_state: Any, attempt: int) -> Any:
        """Returns the state in which the coming round has noise of that attempt.

        Args:
            global_state: before the round.
            attempt: 0 unless the round was computed before, with another sum.
        """
        return global_state._replace(attempt=tf.constant(attempt, tf.int64))

    def draws(self, rounds: int) -> float:
        """Returns the number of draws in that many rounds."""
        raise NotImplementedError

    @property
    def noise_units(self) -> float:
        """Standard deviation of a draw on the sum, in grid units: z B; 0 for none."""
        return self._noise_over_clip * (self._grid.units or 0)

    def largest_stddev(self) -> float:
        """Returns the largest standard deviation of any draw, in grid units."""
        return self.noise_units

    def statistical_distance(self, rounds: int) -> float:
        """Returns a bound of the total variation of a run's noise from what is accounted.

        A run within tau of one that is (epsilon, delta)-DP is
        (epsilon, delta + (1 + e^epsilon) tau)-DP.
        """
        return self.noise.statistical_distance(self.largest_stddev(), self.draws(rounds))


def add_vector(record: Any, vector: tf.Tensor) -> Any:
    """Adds a vector of all coordinates to a structure of tensors of fixed shapes."""
    leaves = tf.nest.flatten(record)
    parts = tf.split(vector, [leaf.shape.num_elements() for leaf in leaves])
    added = [leaf + tf.reshape(part, leaf.shape) for leaf, part in zip(leaves, parts)]
    return tf.nest.pack_sequence_as(record, added)


class MeanQuery(tfp.NormalizedQuery):
    """The noised sum of a mechanism over a public constant."""

    def __init__(self, sum_query: ClippedSumQuery, denominator: float):
        super().__init__(sum_query, denominator)
        self.sum_query = sum_query

    @property
    def noise(self) -> noise_lib.NoiseSource:
        """Source of the noise."""
        return self.sum_query.noise

    def with_attempt(self, global_state: Any, attempt: int) -> Any:
        """As `ClippedSumQuery.with_attempt`."""
        numerator = self.sum_query.with_attempt(global_state.numerator_state, attempt)
        return global_state._replace(numerator_state=numerator)

    def statistical_distance(self, rounds: int) -> float:
        """As `ClippedSumQuery.statistical_distance`."""
        return self.sum_query.statistical_distance(rounds)

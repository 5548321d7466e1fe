"""What the mechanisms with an adaptive clip share: counts of unclipped records.

Andrew et al. (2019, arXiv 1905.03871): every record says whether its norm is below
C, as +1/2 or -1/2, and C follows the noised fraction of those that say yes. Counts are
integers like the updates, in units of 1 / (2 `COUNT_UNITS`).
"""

from typing import Any

import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import noise as noise_lib
from dp_fedemb.aggregation import sum_query

# Of the half that a record counts, so that rounding the noise changes nothing to see.
COUNT_UNITS = 2**16


class QuantileSumQuery(sum_query.ClippedSumQuery):
    """Sums clipped records and, beside them, their counts."""

    def __init__(
        self,
        run: privacy.PrivateRun,
        record_specs: sum_query.RecordSpecs,
        noise: noise_lib.NoiseSource,
    ):
        """Initialises the query.

        Args:
            run: its plan's mechanism has `clipped_count_stddev` filled in.
            record_specs: of the tensors of one record.
            noise: source of the noise.
        """
        plan = run.plan
        super().__init__(plan.mechanism.clip_norm, plan.noise_stddev, record_specs, noise)
        self._mechanism: Any = plan.mechanism
        # Public divisor of the counts; who did take part is private and must not enter.
        self._virtual_clients = float(plan.virtual_clients_per_round)
        self._count_stddev = (
            self._mechanism.clipped_count_stddev * plan.noise_scale * 2 * COUNT_UNITS
        )

    def initial_sample_state(self, template: Any) -> tuple[Any, tf.Tensor]:
        """Returns zeros: the sum of updates and the count."""
        return super().initial_sample_state(template), tf.constant(0, tf.int64)

    def preprocess_record(self, params: tf.Tensor, record: Any) -> tuple[Any, tf.Tensor]:
        """Returns the record clipped to C, and its count."""
        clipped, norm = self._grid.clip(record, params)
        return clipped, COUNT_UNITS * half_count(norm, params)

    def draws(self, rounds: int) -> float:
        return float(rounds * (self.dimension + 1))

    def largest_stddev(self) -> float:
        return max(self.noise_units, self._count_stddev)

    def _noised_fraction(
        self, count: tf.Tensor, noise: Any, round_num: tf.Tensor, attempt: tf.Tensor
    ) -> tf.Tensor:
        """Returns the released fraction of unclipped records in a round."""
        indices = (noise_lib.COUNT, round_num, attempt)
        [drawn] = tf.unstack(self.noise.draw(noise, indices, self._count_stddev, 1))
        halves = tf.cast(count + drawn, tf.float64) / (2 * COUNT_UNITS)
        return tf.cast(0.5 + halves / self._virtual_clients, tf.float32)

    def _moved_clip(self, clip_norm: tf.Tensor, fraction: tf.Tensor) -> tf.Tensor:
        """Returns C exp(-rate (fraction - target)), the geometric update of the paper."""
        target = self._mechanism.target_unclipped_quantile
        rate = self._mechanism.adaptive_clip_learning_rate
        return clip_norm * tf.exp(-rate * (fraction - target))


def half_count(norm: tf.Tensor, clip_norm: tf.Tensor) -> tf.Tensor:
    """Returns +1 for an unclipped record, -1 for a clipped one, 0 for a zero one; halves.

    A zero update is that of nobody (a virtual client without users, or a slot that
    only pads the cohort) or of a fine-tuning that diverged. Counting 0, a place that
    falls empty is the same as a record that disappears: nothing more than the 1/2 of
    its user leaves the count.

    Args:
        norm: float64 scalar, the update's before clipping.
        clip_norm: float32 scalar, C.
    """
    clip_norm = tf.cast(clip_norm, norm.dtype)
    counted = tf.where(norm > clip_norm, -1, tf.where(norm > 0.0, 1, 0))
    return tf.cast(counted, tf.int64)

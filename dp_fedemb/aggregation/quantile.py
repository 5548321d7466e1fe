"""What the mechanisms with an adaptive clip share: counts of unclipped records.

Andrew et al. (2019, arXiv 1905.03871): every record says whether its norm is below
C, as +1/2 or -1/2, and C follows the noised fraction of those that say yes.
"""

from typing import Any

import tensorflow as tf

from dp_fedemb.aggregation import sum_query

# Streams of a round's key: that of the count, and the first of the update.
COUNT_STREAM = 0
UPDATE_STREAM = 1


class QuantileSumQuery(sum_query.ClippedSumQuery):
    """Sums clipped records and, beside them, their counts."""

    def initial_sample_state(self, template: Any) -> tuple[Any, tf.Tensor]:
        """Returns zeros: the sum of updates and the count."""
        return super().initial_sample_state(template), tf.constant(0.0)

    def preprocess_record(self, params: tf.Tensor, record: Any) -> tuple[Any, tf.Tensor]:
        """Returns the record clipped to C, and its count."""
        clipped, norm = sum_query.clip_record(record, params)
        return clipped, half_count(norm, params)


def half_count(norm: tf.Tensor, clip_norm: tf.Tensor) -> tf.Tensor:
    """Returns +1/2 for an unclipped record, -1/2 for a clipped one, 0 for a zero one.

    A zero update is that of nobody (a virtual client without users, or a slot that
    only pads the cohort) or of a fine-tuning that diverged. Counting 0, a place that
    falls empty is the same as a record that disappears: nothing more than the 1/2 of
    its user leaves the count.

    Args:
        norm: float32 scalar, the update's before clipping.
        clip_norm: float32 scalar, C.
    """
    return tf.where(norm > clip_norm, -0.5, tf.where(norm > 0.0, 0.5, 0.0))


def noised_fraction(
    count: tf.Tensor,
    stddev: float,
    virtual_clients: float,
    seed: tf.Tensor,
    round_num: tf.Tensor,
) -> tf.Tensor:
    """Returns the released fraction of unclipped records in a round.

    Args:
        count: float32 scalar, sum of `half_count`.
        stddev: of the noise on the count.
        virtual_clients: m, the public size of the cohort; the number of records that
            did take part is private and must not enter.
        seed: int64 [2], secret key of the run.
        round_num: int64 scalar.
    """
    noised = sum_query.add_gaussian_noise(
        count, tf.constant(stddev), seed, round_num, first_stream=COUNT_STREAM
    )
    return 0.5 + noised / virtual_clients


def moved_clip(
    clip_norm: tf.Tensor, fraction: tf.Tensor, target: float, learning_rate: float
) -> tf.Tensor:
    """Returns C exp(-rate (fraction - target)), the geometric update of the paper."""
    return clip_norm * tf.exp(-learning_rate * (fraction - target))

"""What every mechanism's query shares: a safe clip and keyed noise.

Conventions (units, sensitivity, who divides by what) are those of
`dp_fedemb.privacy`; a query adds the noise to the SUM of clipped records.
"""

import collections
from collections.abc import Sequence
from typing import Any, Union

import tensorflow as tf
import tensorflow_privacy as tfp

# Of one record: normally the trained weights of the backbone.
RecordSpecs = Sequence[tf.TensorSpec]

# Keeps the norm at or below the bound after float32 rounding.
_ROUNDING_MARGIN = 1.0 - 1e-6


class ClippedSumQuery(tfp.SumAggregationDPQuery):
    """A sum of clipped records; how it is noised is left to the mechanism.

    The global state has the fields `clip_norm`, C of the coming round, `seed`, the
    secret key of the noise, and `round_num`, from 0.
    """

    def derive_sample_params(self, global_state: Any) -> tf.Tensor:
        """Returns C: all that a client must know."""
        return global_state.clip_norm

    def preprocess_record(self, params: tf.Tensor, record: Any) -> Any:
        """Returns the record clipped to C."""
        clipped, _ = clip_record(record, params)
        return clipped

    def derive_metrics(self, global_state: Any) -> collections.OrderedDict:
        """Returns C of the coming round, which no raw data enter."""
        return collections.OrderedDict(clip_norm=global_state.clip_norm)


def clip_record(record: Any, clip_norm: tf.Tensor) -> tuple[Any, tf.Tensor]:
    """Clips a record to an L2 norm over its whole concatenation.

    A record with a non-finite entry, or whose norm overflows, becomes zero: a
    contribution that cannot be bounded must not enter the sum.

    Args:
        record: structure of float32 tensors, one record.
        clip_norm: float32 scalar C; infinity leaves finite records untouched.

    Returns:
        The clipped record, and the norm before clipping (0 for a zeroed one).
    """
    leaves = tf.nest.flatten(record)
    norm = tf.linalg.global_norm(leaves)
    usable = tf.math.is_finite(norm)
    norm = tf.where(usable, norm, 0.0)
    bound = clip_norm * _ROUNDING_MARGIN
    scale = tf.where(usable, tf.where(norm > bound, bound / norm, 1.0), 0.0)
    # Not `leaf * scale`, since NaN * 0 is NaN; this gives 0 wherever the scale is 0.
    clipped = [tf.math.multiply_no_nan(leaf, scale) for leaf in leaves]
    return tf.nest.pack_sequence_as(record, clipped), norm


def round_seed(
    seed: tf.Tensor, round_num: tf.Tensor, stream: Union[int, tf.Tensor] = 0
) -> tf.Tensor:
    """Derives the key of one round and stream from the run's noise key.

    Args:
        seed: int64 [2], secret key of the run.
        round_num: integer scalar.
        stream: integer scalar that separates the uses of one round (one per tensor
            and purpose).

    Returns:
        int64 [2]; the same for the same arguments, whatever ran before.
    """
    mixed = tf.bitwise.bitwise_xor(
        seed, tf.stack([tf.cast(round_num, tf.int64), tf.cast(stream, tf.int64)])
    )
    return tf.random.stateless_uniform([2], mixed, minval=None, maxval=None, dtype=tf.int64)


def add_gaussian_noise(
    record: Any, stddev: tf.Tensor, seed: tf.Tensor, round_num: tf.Tensor, first_stream: int = 0
) -> Any:
    """Adds independent N(0, stddev^2) to every coordinate of a structure.

    Args:
        record: structure of float32 tensors, normally the clipped sum.
        stddev: float32 scalar, in units of the sum.
        seed: int64 [2], secret key of the run.
        round_num: int64 scalar; the same round repeats the same noise, so a round
            that is redone after a crash is one release and not two.
        first_stream: first of the consecutive streams taken, one per leaf.
    """
    noised = []
    for stream, leaf in enumerate(tf.nest.flatten(record), start=first_stream):
        key = round_seed(seed, round_num, stream)
        noised.append(leaf + stddev * tf.random.stateless_normal(tf.shape(leaf), key))
    return tf.nest.pack_sequence_as(record, noised)

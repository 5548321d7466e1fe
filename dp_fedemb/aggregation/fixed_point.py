"""Clipped records as integers: a grid on which sums are exact in any order.

The unit of the grid is C / B, with B a power of two from public numbers alone, so
everything a mechanism adds up is in units in which a record's norm is at most B,
whatever C is in a round, and the noise on it has standard deviation z B.

Why the norm is at most B, exactly and not up to rounding: with n the norm of the update
in float64 (relative error below 2^-23 in any order of summation, for up to 2^29
coordinates), a record is multiplied by a float32 s of at most (1 - 2^-21) B / max(n, C).
Each product is off by at most a factor of 1 + 2^-24, which the margin of 2^-21 exceeds
together with all the above, and what follows rounds towards zero.

What it costs: a coordinate loses less than one unit, so a record less than sqrt(d)
units, at most 1/512 of C with noise from the driver, 1/64 with noise from a graph. In
units of the noise a coordinate loses 1 / (z B): with z = 1, a millionth, or 15.
"""

import dataclasses
import math
from typing import Any, Optional

import tensorflow as tf

# Of a record's norm in grid units, see above; the unit of what is released has it too.
MARGIN = 1.0 - 2.0**-21
_NOISE_BITS = 10
_MOST_BITS = 44
# Without a clip: units of 2^-32 and records of a norm up to 2^14, so that 131,072 of
# them cannot overflow.
_OPEN_UNIT = 2.0**-32
_OPEN_NORM = 2.0**14


@dataclasses.dataclass(frozen=True)
class Grid:
    """What a record's numbers are counted in.

    Attributes:
        units: B, the norm of C in grid units; None without a clip, where the unit is
            fixed and a record of a norm above 16,384 counts as one that diverged.
    """

    units: Optional[int]

    def clip(self, record: Any, clip_norm: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """Clips a record to an L2 norm over its whole concatenation, on the grid.

        A record with a non-finite entry becomes zero: a contribution that cannot be
        bounded must not enter the sum.

        Args:
            record: structure of float32 tensors, one record.
            clip_norm: float32 scalar C.

        Returns:
            The record in grid units, int64, of a norm of at most `units`; and the norm
            before clipping (float64, 0 for a zeroed one).
        """
        norm = record_norm(record)
        if self.units is None:
            usable = norm <= _OPEN_NORM
            scale = tf.constant(1 / _OPEN_UNIT, tf.float32)
        else:
            usable = tf.math.is_finite(norm)
            largest = tf.maximum(norm, tf.cast(clip_norm, tf.float64))
            scale = tf.cast(self.units * MARGIN / largest, tf.float32)
        scale = tf.where(usable, scale, 0.0)
        # Not `leaf * scale`, since NaN * 0 is NaN; this gives 0 wherever the scale is 0.
        # The cast rounds towards zero.
        clipped = [
            tf.cast(tf.math.multiply_no_nan(leaf, scale), tf.int64)
            for leaf in tf.nest.flatten(record)
        ]
        norm = tf.where(usable, norm, 0.0)
        return tf.nest.pack_sequence_as(record, clipped), norm

    def to_float(self, total: Any, clip_norm: tf.Tensor) -> Any:
        """Returns a structure in grid units as float32, in units of the weights."""
        if self.units is None:
            unit = tf.constant(_OPEN_UNIT, tf.float64)
        else:
            unit = tf.cast(clip_norm, tf.float64) / (self.units * MARGIN)
        return tf.nest.map_structure(
            lambda leaf: tf.cast(tf.cast(leaf, tf.float64) * unit, tf.float32), total
        )


def build(
    dimension: int, clip_norm: float, noise_over_clip: float, grid_bits: int, least_bits: int
) -> Grid:
    """Returns the grid for records of so many coordinates, decided by public numbers.

    Args:
        dimension: of a record.
        clip_norm: C before the first round; infinity for none.
        noise_over_clip: z. Where there is little noise the grid is finer, so that it
            still has 1,024 units; without any it is as fine as 524,288 records allow.
        grid_bits: B is at least sqrt(dimension) times two to this power,
        least_bits: and at least two to this power.
    """
    if math.isinf(clip_norm):
        return Grid(None)
    bits = grid_bits + math.ceil(math.log2(max(dimension, 1)) / 2)
    of_noise = _MOST_BITS
    if noise_over_clip > 0:
        of_noise = _NOISE_BITS + math.ceil(-math.log2(noise_over_clip))
    return Grid(2 ** max(bits, least_bits, min(of_noise, _MOST_BITS)))


def record_norm(record: Any) -> tf.Tensor:
    """Returns the L2 norm over a whole record, a float64 scalar; NaN or infinite if it is."""
    # Half the sum of squares, in one operation.
    halves = [tf.nn.l2_loss(tf.cast(leaf, tf.float64)) for leaf in tf.nest.flatten(record)]
    return tf.sqrt(2.0 * tf.add_n(halves))

"""Where a mechanism's integer noise comes from: the driver, or a TensorFlow graph.

Both hand out draws of the rounded Gaussian by name (stream, round, ...), the same for
the same names, so the code of a mechanism is one. What differs is the bits and how close
the draws are to the distribution that is accounted.
"""

import abc
from collections.abc import Sequence
import math
from typing import Any

import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import rounded_gaussian

# First index of every draw: what it is for.
UPDATE, COUNT, NODE = range(3)


class NoiseSource(abc.ABC):
    """Draws of rounded Gaussians by name.

    Attributes:
        in_graph: whether a computation that is sent to a worker may draw.
        generator: the source of bits, for statements.
        grid_bits: by how many bits the grid's units of C exceed the root of the
            dimension.
        least_bits: of the grid's units of C.
    """

    in_graph: bool
    generator: str
    grid_bits: int
    least_bits: int

    @abc.abstractmethod
    def initial_state(self) -> Any:
        """Returns what the mechanism's state must hold for `draw`, secret."""

    @abc.abstractmethod
    def draw(self, state: Any, indices: Sequence[Any], stddev: float, size: int) -> tf.Tensor:
        """Returns int64 [size], independent draws of round(N(0, stddev^2)).

        Args:
            state: of `initial_state`.
            indices: integers or integer scalars that name the draws; the same names,
                the same draws.
            stddev: in grid units.
            size: number of draws.
        """

    @abc.abstractmethod
    def statistical_distance(self, stddev: float, draws: float) -> float:
        """Returns a bound of the total variation of so many draws from exact ones."""


class DriverNoise(NoiseSource):
    """Exact draws in Python, keyed by the run; see `rounded_gaussian`.

    The key never is in a state, a checkpoint of which may be copied, nor on a worker.
    """

    in_graph = False
    generator = rounded_gaussian.GENERATOR
    grid_bits = 9
    least_bits = 20

    def __init__(self, run: privacy.PrivateRun):
        self._run = run

    def initial_state(self) -> tuple[()]:
        return ()

    def draw(self, state: Any, indices: Sequence[Any], stddev: float, size: int) -> tf.Tensor:
        del state

        def draw(*values: Any) -> Any:
            key = self._run.noise_key(*(int(value) for value in values))
            return rounded_gaussian.draw(key, stddev, size)

        values = [tf.cast(index, tf.int64) for index in indices]
        return tf.ensure_shape(tf.numpy_function(draw, values, tf.int64), [size])

    def statistical_distance(self, stddev: float, draws: float) -> float:
        return rounded_gaussian.statistical_distance(draws)


class GraphNoise(NoiseSource):
    """Draws inside a graph, wherever it runs: Philox words, inverted in float64.

    Two words of 64 bits make a draw, so there is no lattice as with float32 Box-Muller.
    But Philox is not a cryptographic generator, and float64 leaves a distance from the
    exact distribution that is not nil; it grows with the grid's fineness, so the grid is
    coarser here.
    """

    in_graph = True
    generator = "TensorFlow's stateless Philox"
    grid_bits = 6
    least_bits = 16
    # Of the inverse on [-9.2, 9.2] (measured: 2**-48.6); beyond lie 2**-64 of all draws.
    _ERROR = 2.0**-48

    def __init__(self, key: Sequence[int]):
        """Initialises the source.

        Args:
            key: int64 [2], secret (`PrivateRun.tf_noise_key`).
        """
        self._key = [int(word) for word in key]

    def initial_state(self) -> tf.Tensor:
        return tf.constant(self._key, tf.int64)

    def draw(self, state: Any, indices: Sequence[Any], stddev: float, size: int) -> tf.Tensor:
        words, further = tf.split(stateless_words(derived_key(state, indices), 2 * size), 2)
        magnitude = tf.bitwise.bitwise_and(words, tf.constant(2**63 - 1, tf.int64))
        fraction = tf.cast(further, tf.float64) * 2.0**-64 + 0.5
        # In (0, 1/2]: in the lower tail float64 loses nothing.
        uniform = (tf.cast(magnitude, tf.float64) + fraction) * 2.0**-64
        sign = tf.where(words < 0, tf.constant(1.0, tf.float64), -1.0)
        normal = sign * tf.math.ndtri(uniform)
        return tf.cast(tf.round(normal * stddev), tf.int64)

    def statistical_distance(self, stddev: float, draws: float) -> float:
        """Returns the bound.

        An error of the inverse moves the two edges of an integer's bin, and so changes
        its probability by a relative r of at most twice that error over the bin's
        width (or over a tenth, where bins are wide and densities fall). The
        Kullback-Leibler divergence is then at most r^2 a draw, adds up over draws, and
        half of it bounds the square of the total variation.
        """
        relative = 2.1 * self._ERROR * max(stddev, 10.0)
        return min(1.0, relative * math.sqrt(draws / 2) + draws * 2.0**-64)


def stateless_words(key: tf.Tensor, size: int) -> tf.Tensor:
    """Returns int64 [size], all 64 bits of each random."""
    return tf.random.stateless_uniform([size], key, None, None, tf.int64)


def derived_key(key: tf.Tensor, indices: Sequence[Any]) -> tf.Tensor:
    """Returns int64 [2], a key of its own for every sequence of indices."""
    names = [tf.cast(index, tf.int64) for index in indices]
    # The length first, so that no sequence begins another one.
    names = [tf.constant(len(names), tf.int64), *names]
    if len(names) % 2:
        names.append(tf.constant(0, tf.int64))
    for first, second in zip(names[::2], names[1::2]):
        key = stateless_words(tf.bitwise.bitwise_xor(key, tf.stack([first, second])), 2)
    return key

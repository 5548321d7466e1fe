"""Correlated noise of the rounds, in integers: P n = Q Z, round by round.

With the strategy C = P / Q (`privacy.factorization.strategy`), S the exact sums of the
rounds and Z independent Gaussians, the Gaussian mechanism that is accounted is C S + Z.
What is released is computed from it without any floating point:

- Q (C S + Z) = P S + Q Z. The numbers of P are multiples of 2^-f and those of S integers,
  so P S rounded to multiples of 2^-f is itself, and Y = P S + round(Q Z) is a function of
  P S + Q Z. `combined_gaussian` draws round(Q Z) exactly.
- R_t = round(Y_t - sum over j >= 1 of p_j R_(t - j)) is a function of Y and of releases.
  With R = S + n it says n_t = round((Q Z)_t - sum over j >= 1 of p_j n_(t - j)), where all
  that is rounded is a multiple of 2^-f: integer arithmetic, which is done here.

So R is post-processing of C S + Z, on the grid and not just in exact arithmetic.
"""

from collections.abc import Callable, Sequence

import numpy as np

from dp_fedemb.aggregation import combined_gaussian
from dp_fedemb.privacy.factorization import strategy as strategy_lib

# A round and its attempt.
Name = tuple[int, int]


class CorrelatedNoise:
    """The noise of any round; nothing of it has to be saved.

    The noise of the last rounds, as many as P has further coefficients, and the normals of
    as many as Q has, are kept in memory. Where they are not there (after a restart, or if
    a round is not the next one), they are made again: without further coefficients in P
    from the draws of the last rounds, otherwise from those of all rounds before.
    """

    def __init__(
        self,
        strategy: strategy_lib.Strategy,
        stddev: float,
        size: int,
        key_of: Callable[[Name], bytes],
    ) -> None:
        """Initialises the noise.

        Args:
            strategy: C.
            stddev: of a draw, in grid units.
            size: number of coordinates.
            key_of: from a round and its attempt to the key of its draw.
        """
        fraction = 2**strategy_lib.FRACTION_BITS
        self._past_weights = [round(-value * fraction) for value in strategy.numerator[1:]]
        self._draw_weights = strategy.denominator
        # A draw of finer steps is only needed to meet the fractions of P.
        self._bits = strategy_lib.FRACTION_BITS if self._past_weights else 0
        self._fine_stddev = stddev * 2**self._bits
        self._draws = combined_gaussian.CombinedDraws(key_of, size)
        self._recent: list[np.ndarray] = []  # Latest first.
        self._done: list[Name] = []

    def noise(self, round_num: int, attempts: Sequence[int]) -> np.ndarray:
        """Returns int64 [size], the noise of a round, which the caller may write to.

        Args:
            round_num: from 0.
            attempts: of the rounds up to this one; rounds beyond have attempt 0.
        """
        names = [
            (number, int(attempts[number]) if number < len(attempts) else 0)
            for number in range(round_num + 1)
        ]
        if not self._past_weights:
            return self._of_draws(names)
        if names[: len(self._done)] != self._done:
            self._recent, self._done = [], []
        for number in range(len(self._done), round_num + 1):
            latest = self._of_draws(names[: number + 1])
            _add_weighted(latest, self._past_weights, self._recent)
            # To the nearest integer, by the same rule as a sum with this noise would be.
            latest += 1 << (self._bits - 1)
            latest >>= self._bits
            self._recent = [latest, *self._recent[: len(self._past_weights) - 1]]
            self._done.append(names[number])
        # TensorFlow adds sums in place to what it is given, whatever its flags say; what is
        # kept here is in the noise of later rounds.
        return self._recent[0].copy()

    def _of_draws(self, names: list[Name]) -> np.ndarray:
        recent = names[: -len(self._draw_weights) - 1 : -1]
        weights = self._draw_weights[: len(recent)]
        return self._draws.draw(recent, weights, self._fine_stddev)


def _add_weighted(
    total: np.ndarray, weights: Sequence[int], terms: Sequence[np.ndarray]
) -> None:
    """Adds integers times vectors to a vector, int64."""

    def work(part: slice) -> None:
        piece = total[part]
        product = np.empty_like(piece)
        for weight, term in zip(weights, terms):
            np.multiply(term[part], weight, out=product)
            piece += product

    combined_gaussian.in_pieces(len(total), work)

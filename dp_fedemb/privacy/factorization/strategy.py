"""A strategy: the matrix C as a ratio of two short series."""

import dataclasses

import numpy as np

from dp_fedemb.privacy.factorization import series

# Coefficients of numerators are multiples of 2^-FRACTION_BITS.
FRACTION_BITS = 6


@dataclasses.dataclass(frozen=True)
class Strategy:
    """C(x) = numerator(x) / denominator(x), whose first coefficients are 1.

    With P and Q the matrices of the two, C = Q^-1 P, and the noise n = C^-1 Z of the
    rounds follows P n = Q Z: that of a round is made of its last draws and of the noise
    of the last rounds,

        n_t = sum over j of q_j Z_(t - j) - sum over j >= 1 of p_j n_(t - j).

    For sums S of integers, P S consists of multiples of 2^-FRACTION_BITS.
    `aggregation.correlated_noise` says why that matters.

    Attributes:
        numerator: p_0 = 1, p_1, ..., multiples of 2^-FRACTION_BITS.
        denominator: q_0 = 1, q_1, ...
    """

    numerator: tuple[float, ...]
    denominator: tuple[float, ...]

    def __post_init__(self) -> None:
        scaled = np.array(self.numerator) * 2.0**FRACTION_BITS
        if self.numerator[0] != 1 or self.denominator[0] != 1:
            raise ValueError(f'{self}: expected series that begin with 1')
        if not np.array_equal(scaled, np.round(scaled)):
            raise ValueError(f'{self}: expected a numerator of multiples of 2^-6')

    def column(self, rounds: int) -> np.ndarray:
        """Returns the first column of C, float64 [rounds]."""
        return series.quotient(np.array(self.numerator), np.array(self.denominator), rounds)

    def noise(self, rounds: int) -> np.ndarray:
        """Returns the first column of C^-1, float64 [rounds]."""
        return series.quotient(np.array(self.denominator), np.array(self.numerator), rounds)


def rounded(
    numerator: np.ndarray, denominator: np.ndarray, denominator_bits: int = 16
) -> Strategy:
    """Returns a strategy with coefficients rounded to binary fractions.

    Searches end in figures that differ in their last digits from machine to machine; a
    run that goes on elsewhere must find the same strategy.

    Args:
        numerator: P, rounded to FRACTION_BITS.
        denominator: Q.
        denominator_bits: binary digits after the point that are kept of Q.
    """
    return Strategy(
        tuple((np.round(numerator * 2.0**FRACTION_BITS) / 2.0**FRACTION_BITS).tolist()),
        tuple((np.round(denominator * 2.0**denominator_bits) / 2.0**denominator_bits).tolist()),
    )

"""Trade-off curves: what errors a guarantee leaves to whoever tests for a user.

A guarantee (epsilon, delta(epsilon)) for all epsilon at once is the trade-off function f
of Dong, Roth and Su (2019, arXiv 1905.02383): every test of false positive rate x has a
true positive rate of at most F(x) = 1 - f(x). F is kept as the lower envelope of the
lines that a grid of epsilons gives, so what is computed here never promises more privacy
than is claimed: a rejected curve is a rejected claim.
"""

import bisect
import dataclasses
import functools

import numpy as np
from numpy import typing as npt
from scipy import special

from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import analysis as analysis_lib

Array = npt.NDArray[np.float64]
# Below it a delta decides nothing that so few games as ours can see.
_LEAST_DELTA = 1e-9
_POINTS = 48


@dataclasses.dataclass(frozen=True, eq=False)
class TradeOff:
    """The greatest true positive rate at a false positive rate, and its inverse.

    Attributes:
        slopes: of the lines whose maximum is `inverse`, ascending.
        intercepts: of the same lines.
        breaks: where one line gives way to the next, ascending, one less.
    """

    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]
    breaks: tuple[float, ...]

    def inverse(self, rate: float) -> float:
        """Returns the least false positive rate that allows a true positive rate."""
        index = bisect.bisect_right(self.breaks, rate)
        return self.slopes[index] * rate + self.intercepts[index]

    def allows(self, false_positives: float, true_positives: float) -> bool:
        """Whether a test with these rates is possible."""
        return self.inverse(true_positives) <= false_positives


def from_deltas(epsilons: Array, deltas: Array) -> TradeOff:
    """Returns the curve of (epsilon, delta)-DP for all pairs, epsilons of at least 0.

    A true positive rate y needs a false positive rate x with y <= e^epsilon x + delta
    and, since neighbours are neighbours in both orders, with
    1 - x <= e^epsilon (1 - y) + delta.
    """
    grown = np.exp(epsilons)
    slopes = np.concatenate([[0.0], 1 / grown, grown])
    intercepts = np.concatenate([[0.0], -deltas / grown, 1 - deltas - grown])
    order = np.lexsort((intercepts, slopes))
    kept: list[tuple[float, float]] = []
    breaks: list[float] = []
    for slope, intercept in zip(slopes[order].tolist(), intercepts[order].tolist()):
        # A line is gone where the next one overtakes it before it leads.
        while kept:
            gap = slope - kept[-1][0]
            if gap > 0:
                where = (kept[-1][1] - intercept) / gap
                if not breaks or where > breaks[-1]:
                    breaks.append(where)
                    break
            kept.pop()
            if breaks:
                breaks.pop()
        kept.append((slope, intercept))
    return TradeOff(tuple(s for s, _ in kept), tuple(i for _, i in kept), tuple(breaks))


@functools.lru_cache(maxsize=512)
def of_analysis(analysis: analysis_lib.Analysis) -> TradeOff:
    """Returns the curve that the accountant claims for rounds."""
    most = accounting.epsilon(analysis, _LEAST_DELTA)
    epsilons = np.linspace(0.0, most, _POINTS)
    return from_deltas(epsilons, _deltas(analysis, epsilons))


def _deltas(analysis: analysis_lib.Analysis, epsilons: Array) -> Array:
    if isinstance(analysis, analysis_lib.SampledGaussian) and analysis.rounds == 1:
        orders = [
            _one_round(analysis, *shifts, epsilons) for shifts in _SHIFTS.get(analysis.kind, ())
        ]
        if orders:
            return np.max(orders, axis=0)
    return np.array([accounting.delta(analysis, float(epsilon)) for epsilon in epsilons])


# Kind -> where P and Q lie with probability q, for either order of the neighbours; the
# orders of `replaced` are mirror images.
_SHIFTS = {'add_or_remove': ((1, 0), (0, -1)), 'replaced': ((1, -1),)}
# Standard deviations beyond which there is nothing.
_FAR = 40.0


def _one_round(
    analysis: analysis_lib.SampledGaussian, p_shift: int, q_shift: int, epsilons: Array
) -> Array:
    """delta of one round: P - e^epsilon Q above the point whose loss is epsilon.

    The accountant's own takes a fifth of a second for each where deltas are tiny.
    """
    ratio, q = analysis.ratio, analysis.probability

    def mixed(at_zero: Array, at_shift: Array, shift: int) -> Array:
        if shift == 0:
            return at_zero
        if q == 1:
            return at_shift
        return np.logaddexp(np.log1p(-q) + at_zero, np.log(q) + at_shift)

    def log_density(x: Array, shift: int) -> Array:
        return mixed(-((x / ratio) ** 2) / 2, -(((x - shift) / ratio) ** 2) / 2, shift)

    def log_above(x: Array, shift: int) -> Array:
        return mixed(special.log_ndtr(-x / ratio), special.log_ndtr((shift - x) / ratio), shift)

    low = np.full_like(epsilons, -_FAR * ratio - 1)
    high = -low
    for _ in range(100):
        middle = (low + high) / 2
        above = log_density(middle, p_shift) - log_density(middle, q_shift) > epsilons
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    left = np.exp(log_above(high, p_shift)) - np.exp(epsilons + log_above(high, q_shift))
    # A point next to the right one has a delta that is less by rounding errors alone.
    return np.clip(left * (1 + 1e-9) + 1e-14, 0.0, 1.0)

"""Renyi divergence of a round, composed and turned into epsilon or delta.

The Renyi divergence of order 1 + s of the pair (P, Q) is log E_P[e^(s loss)] / s, a
convex function of the likelihood ratio, so that of the dominating point masses of
`one_round` is an upper bound, and T rounds have T times as much. It becomes

    delta = e^(s (D - epsilon)) / (1 + s) * (s / (1 + s))^s

(Balle et al. 2020, arXiv 1905.09982, Theorem 21; Canonne et al. 2020, arXiv 2004.00010,
Proposition 12) for every s, plus T times the mass that is lost.
"""

from collections.abc import Callable
import dataclasses
import functools
import math

import numpy as np

from dp_fedemb.privacy.accounting import one_round
from dp_fedemb.privacy.accounting import pairs

Array = pairs.Array
# Orders minus 1. They do not depend on the plan, so that the least bound over them is
# monotone wherever each is; a few more around the best make it tight.
_ORDERS = np.geomspace(1e-7, 1e7, 113)
_REFINED = 16


def log_moments(losses: one_round.Losses, orders: Array) -> Array:
    """Returns log E[e^(s loss)] of one round for every s in `orders`, rounded up.

    The exponents of terms that matter are sums of s loss and a log mass, which is above
    -1000 - 1 / ratio^2 wherever float64 has it; each has an error of a few u of both.
    """
    exponents = np.multiply.outer(orders, losses.values + losses.lift) + losses.log_masses
    most = exponents.max(axis=1)
    sums = np.exp(exponents - most[:, None]).sum(axis=1)
    size = 1000 + np.abs(most) + np.abs(losses.log_masses[np.isfinite(losses.log_masses)]).max()
    return most + np.log(sums) + 8 * pairs.ROUNDOFF * size


@functools.lru_cache(maxsize=64)
def _moments_of_orders(
    direction: str, ratio: float, probability: float, deviations: float
) -> Array:
    losses = one_round.by_position(direction, ratio, probability, deviations)
    return log_moments(losses, _ORDERS)


def _log_deltas(orders: Array, moments: Array, count: int, epsilon: float) -> Array:
    conversion = orders * np.log(orders) - (1 + orders) * np.log1p(orders)
    return count * moments - orders * epsilon + conversion


def _epsilons(orders: Array, moments: Array, count: int, log_delta: float) -> Array:
    return (_log_deltas(orders, moments, count, 0.0) - log_delta) / orders


@dataclasses.dataclass(frozen=True)
class Renyi:
    """`count` rounds of a pair, by their Renyi divergences."""

    direction: str
    ratio: float
    probability: float
    count: int
    deviations: float

    @property
    def losses(self) -> one_round.Losses:
        """Those of one round."""
        return one_round.by_position(
            self.direction, self.ratio, self.probability, self.deviations
        )

    def _least(self, values_of: Callable[[Array, Array], Array]) -> 'tuple[float, float]':
        """The least value over orders, and the order minus 1 that has it."""
        moments = _moments_of_orders(
            self.direction, self.ratio, self.probability, self.deviations
        )
        values = values_of(_ORDERS, moments)
        best = int(np.argmin(values))
        low, high = max(best - 1, 0), min(best + 1, len(_ORDERS) - 1)
        orders = np.geomspace(_ORDERS[low], _ORDERS[high], _REFINED)
        refined = values_of(orders, log_moments(self.losses, orders))
        closest = int(np.argmin(refined))
        if refined[closest] < values[best]:
            return float(refined[closest]), float(orders[closest])
        return float(values[best]), float(_ORDERS[best])

    def _log_lost(self) -> float:
        return math.log(self.count) + self.losses.log_lost

    def epsilon(self, log_delta: float) -> 'tuple[float, float]':
        """Returns epsilon at delta = e^log_delta, and the order minus 1 of it."""
        left = -math.expm1(min(self._log_lost() - log_delta, 0.0))
        if left <= 0:
            return math.inf, float(_ORDERS[-1])
        target = log_delta + math.log(left)
        value, order = self._least(
            lambda orders, moments: _epsilons(orders, moments, self.count, target)
        )
        return max(value * (1 + 1e-12), 0.0), order

    def log_delta(self, epsilon: float) -> 'tuple[float, float]':
        """Returns log of delta at epsilon, and the order minus 1 of it."""
        value, order = self._least(
            lambda orders, moments: _log_deltas(orders, moments, self.count, epsilon)
        )
        slack = 1e-13 * (abs(value) + order * epsilon)
        return min(float(np.logaddexp(value + slack, self._log_lost())), 0.0), order


def gaussian_epsilon(mu: float, log_delta: float) -> float:
    """Returns epsilon of a Gaussian with sensitivity over noise `mu`, by its divergences.

    They are order mu^2 / 2 (Mironov 2017, arXiv 1702.07476, Corollary 3).
    """

    def least(orders: Array) -> 'tuple[float, int]':
        values = _epsilons(orders, orders * (1 + orders) * mu**2 / 2, 1, log_delta)
        best = int(np.argmin(values))
        return float(values[best]), best

    value, best = least(_ORDERS)
    low, high = max(best - 1, 0), min(best + 1, len(_ORDERS) - 1)
    refined, _ = least(np.geomspace(_ORDERS[low], _ORDERS[high], 20 * _REFINED))
    return max(min(value, refined) * (1 + 1e-12), 0.0)

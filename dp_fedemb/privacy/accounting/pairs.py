"""Pairs of one-dimensional distributions whose privacy loss grows along the line.

Unit: the sensitivity, so that a Gaussian has standard deviation `ratio`. P and Q are
mixtures of Gaussians at -1, 0 and 1; the loss is log dP/dQ.
"""

import dataclasses
from typing import ClassVar

import numpy as np
from numpy import typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

# Unit roundoff of float64.
ROUNDOFF = 2.0**-53
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_LOG_TWO_PI = np.log(2 * np.pi)


def _log_gaussian_masses(edges: Array, shift: float, ratio: float) -> Array:
    """Log mass of N(shift, ratio^2) between neighbouring edges.

    Where the tails at both edges are alike their difference would cancel, so there the
    density is integrated by Gauss and Legendre: with half width d and middle m in
    standard deviations, d < 1/2 and |m| d < 1/2, the error of 8 nodes is below 1e-15.
    Elsewhere the tail at one edge is at most 3/4 of the one at the other.
    """
    with np.errstate(invalid='ignore', over='ignore', divide='ignore'):
        half = np.diff(edges) / (2 * ratio)
        middle = -np.abs((edges[:-1] + half * ratio - shift) / ratio)
        upper, lower = middle + half, middle - half
        infinite = ~np.isfinite(half)
        first = (edges[:-1] - shift) / ratio
        last = (edges[1:] - shift) / ratio
        # An interval (a, inf) is the one of (-inf, -a).
        upper[infinite] = np.where(np.isposinf(last), -first, last)[infinite]
        lower[infinite] = np.where(np.isposinf(last), -last, first)[infinite]
        narrow = (half < 0.5) & (-middle * half < 0.5)
        masses = np.empty_like(half)
        d, m = half[narrow], middle[narrow]
        density = sum(
            weight * np.cosh(m * d * node) * np.exp(-((d * node) ** 2) / 2)
            for node, weight in zip(_NODES, _WEIGHTS)
        )
        masses[narrow] = np.log(d * density) - m * m / 2 - _LOG_TWO_PI / 2
        log_upper = special.log_ndtr(upper[~narrow])
        log_lower = special.log_ndtr(lower[~narrow])
        wide = log_upper + np.log1p(-np.exp(log_lower - log_upper))
        masses[~narrow] = np.where(np.isneginf(log_upper), -np.inf, wide)
    return masses


@dataclasses.dataclass(frozen=True)
class Pair:
    """P and Q as mixtures; `loss` and its inverse `position` are increasing.

    Attributes:
        ratio: standard deviation over sensitivity.
        probability: q, in (0, 1).
    """

    ratio: float
    probability: float
    # Where the component of weight q of P and Q lies; that of weight 1 - q lies at 0.
    p_shift: ClassVar[int]
    q_shift: ClassVar[int]

    def loss(self, x: Array) -> Array:
        """Returns log dP/dQ at x."""
        raise NotImplementedError

    def position(self, loss: Array) -> Array:
        """Returns x with this loss; infinite beyond the losses there are."""
        raise NotImplementedError

    def _mix(self, shift: int, at_zero: Array, at_shift: Array) -> Array:
        if shift == 0:
            return at_zero
        with np.errstate(invalid='ignore'):
            return np.logaddexp(
                np.log1p(-self.probability) + at_zero, np.log(self.probability) + at_shift
            )

    def log_masses(self, x: Array) -> 'tuple[Array, Array]':
        """Returns logs of the masses of P and of Q between neighbouring x."""
        by_shift = {
            shift: _log_gaussian_masses(x, shift, self.ratio)
            for shift in {0, self.p_shift, self.q_shift}
        }
        return (
            self._mix(self.p_shift, by_shift[0], by_shift[self.p_shift]),
            self._mix(self.q_shift, by_shift[0], by_shift[self.q_shift]),
        )

    def log_mass_below(self, x: float) -> float:
        """Returns log P(X < x)."""
        tails = special.log_ndtr(np.array([x, x - self.p_shift]) / self.ratio)
        return float(self._mix(self.p_shift, tails[0], tails[1]))

    def log_mass_above(self, x: float) -> float:
        """Returns log P(X > x)."""
        tails = special.log_ndtr(-np.array([x, x - self.p_shift]) / self.ratio)
        return float(self._mix(self.p_shift, tails[0], tails[1]))

    def reach(self, deviations: float) -> 'tuple[float, float]':
        """Returns x below and x above which P has less than a Gaussian's tail."""
        return -deviations * self.ratio, self.p_shift + deviations * self.ratio


class Removed(Pair):
    """P = (1 - q) N(0) + q N(1) against Q = N(0): the user was there."""

    p_shift, q_shift = 1, 0

    def loss(self, x: Array) -> Array:
        exponent = (2 * x - 1) / (2 * self.ratio**2)
        with np.errstate(over='ignore', divide='ignore', invalid='ignore'):
            small = np.log1p(self.probability * np.expm1(np.minimum(exponent, 0)))
            above = np.log(self.probability) + exponent + np.log(-np.expm1(-exponent))
            return np.where(exponent > 0, np.logaddexp(0, above), small)

    def position(self, loss: Array) -> Array:
        q = self.probability
        with np.errstate(over='ignore', divide='ignore', invalid='ignore'):
            near = np.log1p(np.expm1(np.minimum(loss, 1)) / q)
            far = loss + np.log1p(-(1 - q) * np.exp(-np.maximum(loss, 0.5))) - np.log(q)
            exponent = np.where(loss > 0.7, far, near)
        exponent = np.where(np.isnan(exponent), -np.inf, exponent)
        return 0.5 + self.ratio**2 * exponent


class Added(Pair):
    """P = N(0) against Q = (1 - q) N(0) + q N(-1): the user was not there."""

    p_shift, q_shift = 0, -1

    def loss(self, x: Array) -> Array:
        return -Removed(self.ratio, self.probability).loss(-x)

    def position(self, loss: Array) -> Array:
        return -Removed(self.ratio, self.probability).position(-loss)


class Replaced(Pair):
    """P = (1 - q) N(0) + q N(1) against Q = (1 - q) N(0) + q N(-1).

    With c = (1 - q) / q e^(1 / 2 ratio^2) and u = x / ratio^2 the likelihood ratio is
    (c + e^u) / (c + e^-u), and its inverse u = loss / 2 + asinh(c sinh(loss / 2)).
    """

    p_shift, q_shift = 1, -1

    @property
    def _log_c(self) -> float:
        q = self.probability
        return float(np.log1p(-q) - np.log(q) + 0.5 / self.ratio**2)

    def loss(self, x: Array) -> Array:
        u = np.abs(x) / self.ratio**2
        with np.errstate(divide='ignore'):
            above = u + np.log(-np.expm1(-2 * u)) - np.logaddexp(self._log_c, -u)
        return np.sign(x) * np.logaddexp(0, above)

    def position(self, loss: Array) -> Array:
        half = np.abs(loss) / 2
        with np.errstate(divide='ignore', over='ignore'):
            log_sinh = half + np.log(-np.expm1(-2 * half)) - np.log(2)
            log_argument = self._log_c + log_sinh
            near = np.arcsinh(np.exp(np.minimum(log_argument, 20)))
        far = log_argument + np.log(2)
        u = half + np.where(log_argument > 20, far, near)
        return np.sign(loss) * u * self.ratio**2

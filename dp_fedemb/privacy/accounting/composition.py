"""Rounds composed by one Fourier transform, with its rounding error bounded and added.

With `a` the point masses of one round, tilted by e^(s loss) and scaled to a sum of 1
(sum M before), those of T rounds are M^T e^(-s loss) times the T-fold convolution b of a.
At the saddle point s, b is largest where delta is decided, so that an absolute error in b
is a relative error in delta, however small delta is. The error is bounded after the fact,
with u = 2^-53, n a power of two and kappa = 10 u log2(n):

* Transform: |A^ - A|_2 <= kappa |A|_2 (Higham 2002, Accuracy and Stability of Numerical
  Algorithms, Theorem 24.2: log2(n) eta / (1 - log2(n) eta) with eta = mu + gamma_4 (sqrt 2
  + mu), at most 7 u for weights with an error mu of u), so that every coefficient is off
  by at most e = kappa sqrt(n) |a|_2.
* Power, by squaring and multiplying (each multiplication of complex numbers is off by at
  most sqrt 5 u, Brent, Percival and Zimmermann 2007): coefficient j is off by at most
  T (e + 3 u |A^_j|) (|A^_j| + e)^(T - 1).
* Inverse: every value is off by at most the mean of these plus kappa |B^|_2 / sqrt(n).

The sum of the last line, E, is added to every value of b. The convolution is circular:
what leaves the window comes in again at the other side, which only adds. What lies above
the window has a delta of at most M(s + r)^T e^(-(s + r) top) (Chernoff, for the best of
some r), which is added. Errors of exponents are bounded by multiples of u of their size.
"""

import dataclasses
import math
from typing import Optional

import numpy as np
from numpy import typing as npt

from dp_fedemb.privacy.accounting import one_round
from dp_fedemb.privacy.accounting import pairs
from dp_fedemb.privacy.accounting import windows

Array = pairs.Array
Complexes = npt.NDArray[np.complex128]
_U = pairs.ROUNDOFF
# Largest transform; a coarser step keeps within it.
MOST_POINTS = 2**21


def _power(base: Complexes, count: int) -> Complexes:
    """base ** count by squaring and multiplying, whose error is known."""
    result = np.ones_like(base)
    while True:
        if count & 1:
            result = result * base
        count >>= 1
        if not count:
            return result
        base = base * base


def _log_sum(exponents: Array) -> float:
    most = float(exponents.max())
    return most + math.log(float(np.exp(exponents - most).sum()))


@dataclasses.dataclass(frozen=True, eq=False)
class Composed:
    """Point masses of T rounds on a window of the grid, scaled.

    Attributes:
        losses: of the window, ascending.
        weights: masses e^-log_scale, rounded up.
        log_scale: as above.
        log_extra: log of the delta that is there at every epsilon: lost and cut off.
        lift: all losses are to be read as higher by this.
        step: of the grid.
    """

    losses: Array
    weights: Array
    log_scale: float
    log_extra: float
    lift: float
    step: float

    def _sums(self, kernel: Array, index: int) -> float:
        """delta over scale at losses[index]; all terms are positive."""
        above = self.weights[index + 1 :]
        return float(np.dot(above, kernel[: len(above)]))

    def _kernel(self) -> Array:
        return -np.expm1(-self.step * np.arange(1, len(self.weights) + 1))

    def epsilon(self, log_delta: float) -> float:
        """Returns the least epsilon whose delta is at most e^log_delta, rounded up."""
        left = -math.expm1(min(self.log_extra - log_delta, 0.0))
        if left <= 0:
            return math.inf
        target = math.exp(min(log_delta + math.log(left) - self.log_scale, 700.0))
        kernel = self._kernel()
        low, high = -1, len(self.weights) - 1
        # delta at low is above the target, at high it is not.
        while high - low > 1:
            middle = (low + high) // 2
            if self._sums(kernel, middle) > target:
                low = middle
            else:
                high = middle
        upper = float(self.losses[high])
        if low >= 0 and self.step < 50:
            # Between neighbours delta is linear in e^epsilon.
            at_low, at_high = self._sums(kernel, low), self._sums(kernel, high)
            part = (at_low - target) / (at_low - at_high) + 1e-9
            upper = min(
                float(self.losses[low]) + math.log1p(math.expm1(self.step) * part), upper
            )
        upper += self.lift
        return max(upper + 1e-14 * abs(upper), 0.0)

    def log_delta(self, epsilon: float) -> float:
        """Returns log of an upper bound of delta at `epsilon`."""
        lowered = epsilon - self.lift
        index = int(np.searchsorted(self.losses, lowered, side='right'))
        gaps = self.losses[index:] - lowered
        total = float(np.dot(self.weights[index:], -np.expm1(-gaps)))
        if index == 0:
            # Masses below the window: unknown, at most 1 together.
            return 0.0
        inside = math.log(total) + self.log_scale if total > 0 else -math.inf
        return min(float(np.logaddexp(inside, self.log_extra)), 0.0)


def compose(
    losses: one_round.Losses, count: int, window: windows.Window, log_scale: float
) -> Optional[Composed]:
    """Returns `count` rounds of losses on a grid, or None if the grid is too fine.

    Args:
        losses: of one round, with a step.
        count: T, at least 1.
        window: what to tilt by and which losses to keep. Any is valid; the saddle point
            of the delta at hand with nearly all tilted losses is exact.
        log_scale: about log delta, so that weights neither over- nor underflow.
    """
    step, values, tilt = losses.step, losses.values, window.tilt
    least, most = count * losses.first, count * (losses.first + len(values) - 1)
    top = min(math.ceil(window.top / step), most)
    bottom = max(math.floor(window.bottom / step), least)
    points = 1 << max(top - bottom, 1).bit_length()
    if points > MOST_POINTS:
        return None
    bottom = top - points + 1

    exponents = losses.log_masses + tilt * values
    log_sum = _log_sum(exponents)
    masses = np.exp(exponents - log_sum)
    kept = masses > 0
    sizes = np.abs(losses.log_masses[kept]) + tilt * np.abs(values[kept])
    folded = masses
    if len(masses) > points:
        folded = np.bincount(np.arange(len(masses)) % points, masses, points)
    transform = np.fft.rfft(folded, points)
    power = _power(transform, count)
    convolved = np.fft.irfft(power, points)
    error = _error(folded, transform, power, points, count)
    within = np.maximum(np.roll(convolved, -((bottom - least) % points)), 0) + error

    window_losses = np.arange(bottom, top + 1) * step
    # Relative errors of a round's masses count T times.
    slack = 4 * _U * count * (2 + 2 * abs(log_sum) + float(sizes.max())) + 8 * _U * (
        tilt * float(np.abs(window_losses).max()) + abs(log_scale) + points
    )
    exponent = count * log_sum - tilt * window_losses - log_scale + slack
    weights = within * np.exp(np.minimum(exponent, 650.0))
    log_extra = math.log(count) + losses.log_lost
    if top < most:
        middle = window.mean / count
        moment = count * _log_sum(exponents + window.rate * (values - middle))
        above = moment - tilt * top * step - window.rate * (top * step - window.mean)
        log_extra = float(np.logaddexp(log_extra, above + 3 * slack))
    return Composed(window_losses, weights, log_scale, log_extra, count * losses.lift, step)


def _error(
    masses: Array, transform: Complexes, power: Complexes, points: int, count: int
) -> float:
    """Bound of the error of every value of the convolution, see the module."""
    kappa = 10 * _U * math.log2(points)
    off = kappa * math.sqrt(points) * float(np.linalg.norm(masses)) * (1 + 1e-6)
    size = np.abs(transform) * (1 + 1e-15)
    with np.errstate(under='ignore', divide='ignore'):
        grown = np.exp((count - 1) * np.log(size + off))
        coefficients = count * (off + 3 * _U * size) * grown
    # All but two of the coefficients stand for themselves and their conjugates.
    mean = 2 * float(coefficients.sum()) / points
    norm = math.sqrt(2 * float(np.sum(np.abs(power) ** 2)) / points)
    # The last term: what underflows.
    return (mean + kappa * norm) * 1.01 + 1e-290

"""Gaussians without sampling: the closed form, by functions that cannot cancel.

With mu = sensitivity / standard deviation, and T rounds being one of mu sqrt(T) (Balle
and Wang 2018, arXiv 1805.06530, Theorem 8), at epsilon = mu (v + mu / 2)

    delta = Phi(-v) - e^epsilon Phi(-v - mu) = (erfcx(v / r) - erfcx((v + mu) / r)) / 2
                                               * e^(-v^2 / 2),             r = sqrt(2).
"""

import math

from scipy import special

# SciPy states relative errors of some 1e-15 for erfcx and ndtr.
_RELATIVE_ERROR = 1e-14
# Beyond v = 39, delta is below 1e-330.
_MOST_DEVIATIONS = 40.0


def log_delta(v: float, mu: float) -> float:
    """Returns log of an upper bound of delta at epsilon = mu (v + mu / 2)."""
    second = special.erfcx((v + mu) / math.sqrt(2)) / 2 if v + mu > 0 else None
    if v >= 0:
        first = special.erfcx(v / math.sqrt(2)) / 2
        return math.log(first - second + _RELATIVE_ERROR * first) - v * v / 2
    first = float(special.ndtr(-v))
    if second is None:
        # Only below epsilon = -mu^2 / 2: nothing of delta is left to gain there.
        return 0.0
    value = first - second * math.exp(-v * v / 2)
    return min(math.log(value + _RELATIVE_ERROR * first), 0.0)


def epsilon(mu: float, log_target: float) -> float:
    """Returns epsilon at delta = e^log_target, rounded up (monotone bisection in v)."""
    low, high = -mu / 2, _MOST_DEVIATIONS
    if low > high or log_delta(low, mu) <= log_target:
        return 0.0
    while True:
        middle = (low + high) / 2
        if middle <= low or middle >= high or high - low < 1e-15:
            break
        if log_delta(middle, mu) <= log_target:
            high = middle
        else:
            low = middle
    return mu * (high + mu / 2 + 1e-15 * abs(high)) * (1 + 1e-13)

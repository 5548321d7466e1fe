"""Choices that make a composition exact and fast; no bound depends on them."""

from collections.abc import Iterator
import dataclasses
import math

import numpy as np

from dp_fedemb.privacy.accounting import pairs
from dp_fedemb.privacy.accounting import renyi

# Log of the part of the tilted losses that may lie outside.
_OUTSIDE = -28.0
# What the grid may add to epsilon, relative.
_PRECISION = 5e-6
# What it may add to delta, relative.
_MOST_DELTA = 3e-3
# Points of the grid that one round may have.
_MOST_LOSSES = 2**18
# Rates of Chernoff's bound over the spread of the losses, and tilts over the saddle point.
_RATES = np.array([0.1, 0.3, 1.0, 2.0, 4.0, 6.0, 8.0, 11.0, 20.0, 50.0, 150.0, 500.0])
_TILTS = (1.0, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
# Log of the rounding error of a transform, of the delta that may lie above the window, and
# of what both may be to delta before a narrower window is preferred.
_ROUNDING = -27.0
_ABOVE = -18.0
_GOOD = -13.0


@dataclasses.dataclass(frozen=True)
class Window:
    """Where the tilted losses of a composition lie.

    Attributes:
        tilt: s.
        mean: of the tilted losses of all rounds.
        bottom: loss below which next to nothing of them lies.
        top: the same above.
        rate: r, for which Chernoff's bound at s + r shows that.
        log_error: estimate of the log of what rounding, and tilted losses that leave the
            window and come in again, add to delta, relative.
    """

    tilt: float
    mean: float
    bottom: float
    top: float
    rate: float
    log_error: float


def _windows(
    rounds: renyi.Renyi, tilt: float, epsilon: float, log_delta: float
) -> Iterator[Window]:
    losses, count = rounds.losses, rounds.count
    exponents = losses.log_masses + tilt * losses.values
    log_scale = exponents.max()
    masses = np.exp(exponents - log_scale)
    total = masses.sum()
    log_sum = float(log_scale + np.log(total))
    mean = float(np.dot(masses, losses.values) / total)
    variance = float(np.dot(masses, (losses.values - mean) ** 2) / total)
    rates = _RATES / max(math.sqrt(count * variance), 1e-290)

    def moments(sign: float) -> pairs.Array:
        changed = exponents + sign * np.multiply.outer(rates, losses.values - mean)
        most = changed.max(axis=1)
        return most + np.log(np.exp(changed - most[:, None]).sum(axis=1)) - log_sum

    above, below = count * moments(1.0), count * moments(-1.0)
    reaches = (above - _OUTSIDE) / rates
    best = int(np.argmin(reaches))
    depth = float(((below - _OUTSIDE) / rates).min())
    loss = count * log_sum - tilt * epsilon - log_delta
    # Where nearly nothing of the tilted losses lies above, or of delta, which is nearer
    # where single rounds decide. That needs no further tilt to show it.
    plain = (count * log_sum - log_delta - _ABOVE) / tilt - count * mean
    for reach, rate in ((float(reaches[best]), float(rates[best])), (plain, 0.0)):
        if reach > 0:
            outside = min(float((above - rates * reach).min()), 0.0)
            mean_of_all, error = count * mean, loss + max(outside, _ROUNDING)
            ends = mean_of_all - depth, mean_of_all + reach
            yield Window(tilt, mean_of_all, *ends, rate, error)


def choose(rounds: renyi.Renyi, log_delta: float, epsilon: float, saddle: float) -> Window:
    """Returns the narrowest window of some tilts near the saddle point that is exact.

    Where single rounds of great loss decide, tilted losses have two scales, and a little
    less tilt leaves the one that matters.
    """
    windows = [
        window
        for tilt in _TILTS
        for window in _windows(rounds, tilt * saddle, epsilon, log_delta)
    ]
    good = [window for window in windows if window.log_error < _GOOD]
    if good:
        return min(good, key=lambda window: window.top - window.bottom)
    return min(windows, key=lambda window: window.log_error)


def step(rounds: renyi.Renyi, tilt: float, guess: float) -> float:
    """Returns a step that adds some `_PRECISION` to an epsilon of about `guess`.

    A step h adds a variance of at most h^2 / 4 a round to the loss, so that delta grows
    by e^(tilt^2 T h^2 / 8), and epsilon by tilt T h^2 / 8.
    """
    precision = _PRECISION * max(1.0, math.sqrt(rounds.count / 1e4))
    added = min(precision * max(guess, 0.05 / tilt), _MOST_DELTA / tilt)
    span = float(np.ptp(rounds.losses.values))
    wanted = math.sqrt(8 * added / (tilt * rounds.count))
    return 2.0 ** math.floor(math.log2(max(wanted, span / _MOST_LOSSES, 1e-290)))

"""Choices that make a composition exact and fast; no bound depends on them."""

import dataclasses
import math

import numpy as np

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
_RATES = np.array([2.0, 4.0, 6.0, 8.0, 11.0, 20.0, 50.0, 150.0, 500.0])
_TILTS = (1.0, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
# Greatest log of what is lost by another tilt; the rounding error grows by as much.
_LOSS = 12.0


@dataclasses.dataclass(frozen=True)
class Window:
    """Where the tilted losses of a composition lie.

    Attributes:
        tilt: s.
        mean: of the tilted losses of all rounds.
        bottom: loss below which next to nothing of them lies.
        top: the same above.
        rate: r, for which Chernoff's bound at s + r shows that.
    """

    tilt: float
    mean: float
    bottom: float
    top: float
    rate: float


def _window(rounds: renyi.Renyi, tilt: float) -> Window:
    losses, count = rounds.losses, rounds.count
    exponents = losses.log_masses + tilt * losses.values
    exponents = exponents - exponents.max()
    masses = np.exp(exponents)
    log_sum = math.log(masses.sum())
    mean = float(np.dot(masses, losses.values) / masses.sum())
    variance = float(np.dot(masses, (losses.values - mean) ** 2) / masses.sum())
    spread = max(math.sqrt(count * variance), 1e-290)
    rates = _RATES / spread

    def ends(sign: float) -> np.ndarray:
        changed = exponents + sign * np.multiply.outer(rates, losses.values - mean)
        most = changed.max(axis=1)
        moments = most + np.log(np.exp(changed - most[:, None]).sum(axis=1)) - log_sum
        return (count * moments - _OUTSIDE) / rates

    above, below = ends(1.0), ends(-1.0)
    best = int(np.argmin(above))
    return Window(
        tilt,
        count * mean,
        count * mean - float(below.min()),
        count * mean + float(above[best]),
        float(rates[best]),
    )


def choose(rounds: renyi.Renyi, epsilon: float, saddle: float) -> Window:
    """Returns the narrowest window of some tilts near the saddle point.

    Where single rounds of great loss decide, tilted losses have two scales, and a little
    less tilt leaves the one that matters.
    """
    tilts = saddle * np.array(_TILTS)
    moments = renyi.log_moments(rounds.losses, tilts)
    losses = rounds.count * moments - tilts * epsilon
    best = _window(rounds, saddle)
    for tilt in tilts[1:][losses[1:] < losses[0] + _LOSS]:
        window = _window(rounds, float(tilt))
        if window.top - window.bottom < 0.7 * (best.top - best.bottom):
            best = window
    return best


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

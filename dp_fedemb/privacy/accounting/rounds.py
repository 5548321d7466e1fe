"""Epsilon and delta of rounds that sample: the least of the bounds that are proven."""

import dataclasses
import functools
import math

import numpy as np
from scipy import special

from dp_fedemb.privacy.accounting import composition
from dp_fedemb.privacy.accounting import gaussian
from dp_fedemb.privacy.accounting import one_round
from dp_fedemb.privacy.accounting import renyi
from dp_fedemb.privacy.accounting import windows

# Standard deviations of the noise beyond which losses count as broken privacy.
_DEVIATIONS = np.concatenate([np.arange(5.0, 15.0, 0.5), np.arange(15.0, 39.05, 0.1)])
_LOG_TAILS = special.log_ndtr(-_DEVIATIONS)
# Steps from the bound by Renyi divergences at 39 deviations down to delta.
_REFINEMENTS = 6
_LEAST_LOG_DELTA = -700.0


def unsampled_mu(kind: str, ratio: float, count: int) -> float:
    """Returns sensitivity over noise of rounds as one Gaussian, if none of them sampled.

    It bounds rounds that do: both of a round's distributions are then those of the
    Gaussian, replaced by N(0) with probability 1 - q whatever was drawn.
    """
    return (2 if kind == 'replaced' else 1) * math.sqrt(count) / ratio * (1 + 1e-15)


def _log_variation(kind: str, ratio: float, probability: float, count: int) -> float:
    """Log of a bound of delta at every epsilon: the sum of rounds' total variations."""
    one = math.erf(unsampled_mu(kind, ratio, 1) / math.sqrt(8))
    return math.log(count) + math.log(probability * one) + 1e-12


def _deviations(count: int, log_delta: float) -> float:
    """Deviations beyond which there is next to nothing of delta.

    From 2e-6 of it for usual deltas to 2% for tiny ones, where it is worth less than the
    single great losses that may be left out.
    """
    part = -13 + 0.15 * min(max(-log_delta - 30, 0.0), 60.0)
    most = log_delta - math.log(count) + part
    # _LOG_TAILS fall; the last one serves every delta in range.
    index = np.searchsorted(-_LOG_TAILS, -most)
    return float(_DEVIATIONS[min(index, len(_DEVIATIONS) - 1)])


def _composed(
    rounds: renyi.Renyi, log_delta: float, guess: float, saddle: float
) -> composition.Composed:
    """Rounds composed on a grid and with a tilt that suit log_delta."""
    window = windows.choose(rounds, log_delta, guess, saddle)
    step = windows.step(rounds, window.tilt, guess)
    while True:
        losses = one_round.on_grid(
            rounds.direction, rounds.ratio, rounds.probability, step, rounds.deviations
        )
        composed = composition.compose(losses, rounds.count, window, log_delta)
        if composed is not None:
            return composed
        step *= 2


def _epsilon(rounds: renyi.Renyi, log_delta: float, accountant: str, known: float) -> float:
    """Epsilon of one direction; of no interest if at most `known`."""
    epsilon, saddle = rounds.epsilon(log_delta)
    if accountant == 'rdp' or epsilon <= known:
        return epsilon
    guess = math.inf
    while epsilon < guess / 4 and epsilon > 0:
        guess = epsilon
        composed = _composed(rounds, log_delta, guess, saddle)
        epsilon = min(epsilon, composed.epsilon(log_delta))
    return epsilon


@functools.lru_cache(maxsize=4096)
def epsilon(
    kind: str, ratio: float, probability: float, count: int, log_delta: float, accountant: str
) -> float:
    """Returns epsilon of `count` rounds, 0 < probability < 1."""
    if _log_variation(kind, ratio, probability, count) <= log_delta:
        return 0.0
    mu = unsampled_mu(kind, ratio, count)
    unsampled = renyi.gaussian_epsilon if accountant == 'rdp' else gaussian.epsilon
    worst = 0.0
    deviations = _deviations(count, log_delta)
    for direction in one_round.directions(kind):
        rounds = renyi.Renyi(direction, ratio, probability, count, deviations)
        worst = max(worst, _epsilon(rounds, log_delta, accountant, worst))
    return min(worst, unsampled(mu, log_delta))


@functools.lru_cache(maxsize=256)
def log_delta(kind: str, ratio: float, probability: float, count: int, epsilon: float) -> float:
    """Returns log delta of `count` rounds at `epsilon`, 0 < probability < 1."""
    mu = unsampled_mu(kind, ratio, count)
    unsampled = gaussian.log_delta(epsilon / mu - mu / 2, mu)
    largest = min(_log_variation(kind, ratio, probability, count), unsampled, 0.0)
    worst = -math.inf
    for direction in one_round.directions(kind):
        rounds = renyi.Renyi(direction, ratio, probability, count, float(_DEVIATIONS[-1]))
        bound, _ = rounds.log_delta(epsilon)
        best = min(bound, largest)
        for _ in range(_REFINEMENTS):
            # The less delta, the further losses have to reach to cost a part of it.
            before = max(best, _LEAST_LOG_DELTA)
            rounds = dataclasses.replace(rounds, deviations=_deviations(count, before - 3))
            bound, saddle = rounds.log_delta(epsilon)
            composed = _composed(rounds, before, epsilon, saddle)
            best = min(best, bound, composed.log_delta(epsilon))
            if best > before - 3:
                break
        worst = max(worst, best)
    return worst

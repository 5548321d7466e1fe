"""Buffered linear Toeplitz strategies: noise of all rounds from a few running sums.

Dvijotham et al. (2024, arXiv 2404.16706) and McMahan et al. (2024, arXiv 2408.08868):
c_0 = 1 and c_j = sum over buffers i of omega_i lambda_i^(j - 1). The noise of a round is
x_t = z_t - sum of omega_i s_i with s_i <- lambda_i s_i + x_t after it. So a run remembers
one sum per buffer, however many rounds it has; or, as here, the last draws and noises, as
many of each (`strategy.Strategy`). With omega_i >= 0, sum omega_i <= 1 and
0 <= lambda_i <= 1 the coefficients are nonnegative and do not increase.
"""

import functools
from typing import NamedTuple

import numpy as np

from dp_fedemb import validate
from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.factorization import search
from dp_fedemb.privacy.factorization import strategy
from dp_fedemb.privacy.factorization import workload as workload_lib


class Buffers(NamedTuple):
    """Parameters of a strategy: omega and lambda, float64 [buffers]."""

    scales: np.ndarray
    decays: np.ndarray

    def column(self, rounds: int) -> np.ndarray:
        """Returns the first column of C, float64 [rounds]."""
        powers = self.decays[:, None] ** np.arange(rounds - 1)
        return np.concatenate([np.ones(1), self.scales @ powers])

    def strategy(self) -> strategy.Strategy:
        """Returns it as the ratio 1 + sum of omega_i x / (1 - lambda_i x) of series."""
        factors = [np.array([1.0, -decay]) for decay in self.decays]
        denominator = functools.reduce(np.convolve, factors)
        numerator = denominator.copy()
        for index, scale in enumerate(self.scales):
            others = [*factors[:index], *factors[index + 1 :]]
            numerator[1:] += scale * functools.reduce(np.convolve, others, np.ones(1))
        return strategy.rounded(numerator, denominator)


def optimal(
    workload: workload_lib.Workload,
    participation: participation_lib.ParticipationSchedule,
    buffers: int,
) -> strategy.Strategy:
    """Returns the strategy of least error at a given privacy that a search finds.

    Args:
        workload: whose error counts.
        participation: in which rounds a user can take part.
        buffers: at most so many, at least 1; more than that rarely help, and where they
            lose by the rounding of coefficients, fewer are taken.

    Raises:
        ValueError: for buffers below 1.
    """
    validate.positive(buffers=buffers)
    lags = np.arange(workload.rounds - 1)

    def family(parameters: np.ndarray) -> tuple[np.ndarray, search.PullBack]:
        current = _from_parameters(parameters)
        powers = current.decays[:, None] ** lags
        slopes = np.zeros_like(powers)
        slopes[:, 1:] = lags[1:] * powers[:, :-1]

        def pull_back(gradient: np.ndarray) -> np.ndarray:
            by_scale = powers @ gradient[1:]
            by_decay = current.scales * (slopes @ gradient[1:])
            # Derivatives of the logistic function, and of exp / (1 + sum of exp).
            by_logit = by_decay * current.decays * (1 - current.decays)
            by_log = current.scales * (by_scale - current.scales @ by_scale)
            return np.concatenate([by_log, by_logit])

        return current.column(workload.rounds), pull_back

    candidates = [
        _from_parameters(search.minimise(family, start, workload, participation)).strategy()
        for count in range(1, buffers + 1)
        for start in _starts(count, workload.rounds)
    ]
    plain = workload_lib.Workload(workload.rounds, workload.momentum)
    if workload != plain:
        # The search may end elsewhere than at what is best for a constant rate.
        candidates.append(optimal(plain, participation, buffers))
    return min(
        candidates,
        key=lambda found: workload_lib.rms_error(
            workload, found.column(workload.rounds), participation
        ),
    )


def _from_parameters(parameters: np.ndarray) -> Buffers:
    logs, logits = np.split(parameters, 2)
    weights = np.exp(logs - max(logs.max(), 0.0))
    scales = weights / (np.exp(-max(logs.max(), 0.0)) + weights.sum())
    decays = 1 / (1 + np.exp(-logits))
    return Buffers(scales, decays)


def _starts(buffers: int, rounds: int) -> list[np.ndarray]:
    """Memories from a few rounds to all, and to the square root of all."""
    starts = []
    for longest in (rounds, max(rounds**0.5, 2.0)):
        memories = np.geomspace(1.5, max(longest, 2.0), buffers)
        logits = np.log(memories - 1 + 1e-3)
        starts.append(np.concatenate([np.linspace(0.0, -1.0, buffers), logits]))
    return starts

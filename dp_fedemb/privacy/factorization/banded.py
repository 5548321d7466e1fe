"""Banded Toeplitz strategies: a user's rounds never meet in the noise.

Choquette-Choo et al. (2023, arXiv 2306.08153): with at most as many bands as the minimum
separation, the columns of C at the rounds of one user have no row in common, so that
sens(C) = sqrt(k) ||c|| exactly, whatever the rounds.
"""

import numpy as np

from dp_fedemb import validate
from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.factorization import search
from dp_fedemb.privacy.factorization import series
from dp_fedemb.privacy.factorization import strategy
from dp_fedemb.privacy.factorization import workload as workload_lib


def optimal(
    workload: workload_lib.Workload,
    participation: participation_lib.ParticipationSchedule,
    bands: int,
) -> strategy.Strategy:
    """Returns the strategy of so many bands of least error at a given privacy.

    Args:
        workload: whose error counts.
        participation: in which rounds a user can take part.
        bands: at least 1, at most the schedule's minimum separation.

    Raises:
        ValueError: for other bands.
    """
    validate.positive(bands=bands)
    if bands > participation.min_separation:
        raise ValueError(
            f'bands={bands}: expected at most {participation.min_separation}, the least'
            ' difference between two rounds of the same user'
        )
    bands = min(bands, workload.rounds)

    def family(tail: np.ndarray) -> tuple[np.ndarray, search.PullBack]:
        column = np.zeros(workload.rounds)
        column[0], column[1:bands] = 1.0, tail
        return column, lambda gradient: gradient[1:bands]

    start = series.inverse(series.square_root(workload.momentum, bands), bands)
    tail = search.minimise(family, start[1:], workload, participation)
    return strategy.rounded(np.concatenate([np.ones(1), tail]), np.ones(1))

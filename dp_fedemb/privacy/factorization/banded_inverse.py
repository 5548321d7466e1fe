"""Strategies whose inverse is banded: a round's noise is made of the last p draws.

Kalinin et al. (2025, arXiv 2505.12128), banded inverse square root (BISR): C^-1 has the
first p coefficients of the inverse square root of the workload, here of SGD with momentum,
(1 - x)^(1/2) (1 - beta x)^(1/2). Nothing but the keys of the last draws is needed for the
noise of a round. The same family optimised for the number of participations is better
where they are few or many.
"""

import numpy as np
from scipy import signal

from dp_fedemb import validate
from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.factorization import search
from dp_fedemb.privacy.factorization import series
from dp_fedemb.privacy.factorization import strategy
from dp_fedemb.privacy.factorization import workload as workload_lib


def square_root(workload: workload_lib.Workload, bands: int) -> strategy.Strategy:
    """Returns the closed form: the inverse square root of the workload, cut off.

    Args:
        workload: of which the momentum counts.
        bands: p, at least 1.

    Raises:
        ValueError: for bands below 1.
    """
    validate.positive(bands=bands)
    root = series.square_root(workload.momentum, min(bands, workload.rounds))
    return strategy.rounded(np.ones(1), root, denominator_bits=40)


def optimal(
    workload: workload_lib.Workload,
    participation: participation_lib.ParticipationSchedule,
    bands: int,
) -> strategy.Strategy:
    """Returns the strategy of least error at a given privacy.

    Never worse than `square_root`, by the sensitivity that is accounted.

    Args:
        workload: whose error counts.
        participation: in which rounds a user can take part.
        bands: p, at least 1.

    Raises:
        ValueError: for bands below 1.
    """
    closed = square_root(workload, bands)
    length = len(closed.denominator)

    def family(tail: np.ndarray) -> tuple[np.ndarray, search.PullBack]:
        column = series.inverse(np.concatenate([np.ones(1), tail]), workload.rounds)
        if not np.all(np.isfinite(column)) or np.abs(column).max() > 1e6:
            return np.full(workload.rounds, np.nan), lambda gradient: np.zeros(len(tail))
        # A change d of u moves c = 1 / u by -d c^2.
        minus_squared = -signal.convolve(column, column)[: workload.rounds]

        def pull_back(gradient: np.ndarray) -> np.ndarray:
            return search.transposed_product(minus_squared, gradient)[1:length]

        return column, pull_back

    tail = search.minimise(family, np.array(closed.denominator[1:]), workload, participation)
    found = strategy.rounded(np.ones(1), np.concatenate([np.ones(1), tail]))
    return min(
        (closed, found),
        key=lambda candidate: workload_lib.rms_error(
            workload, candidate.column(workload.rounds), participation
        ),
    )

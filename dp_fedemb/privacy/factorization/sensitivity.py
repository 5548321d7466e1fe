"""How far one user moves all rounds together: the sensitivity of a Toeplitz strategy.

A user that takes part in rounds t_0 < t_1 < ... changes the sums there by vectors v_i of
norm at most 1 (in units of C or 2C, as `privacy.sensitivity` says), and C times the sums by
V with ||V||^2 = sum over i, j of G(t_i, t_j) <v_i, v_j>, G the products of C's columns. The
noised rounds C^-1 (C x + Z) are computed from C x + Z, one Gaussian mechanism of that
sensitivity, updates that react to earlier rounds included (Denisov et al. 2022, arXiv
2202.08312, Theorem 2.1). Hence, with the maximum over the patterns of a schedule,

    sens(C)^2 <= max sum over i, j of |G(t_i, t_j)|,

with equality where no product is negative (all v_i the same).

Columns of a Toeplitz matrix with T rows: G(s, s + l) = sum of c_r c_(r+l) over
r < T - s - l, so |G| has fewer terms the later s.
"""

import numpy as np

from dp_fedemb.privacy import participation as participation_lib


def squared(
    strategy: np.ndarray,
    participation: participation_lib.ParticipationSchedule,
    rounds: int,
) -> float:
    """Returns sens(C)^2 of the first `rounds` rounds, or a bound above it.

    >>> schedule = participation_lib.ParticipationSchedule(epoch=2)
    >>> squared(np.array([1.0, 0.5]), schedule, rounds=3)  # Columns 0 and 2.
    2.25

    Exact for cyclic participation if no product of columns is negative, so for every
    nonnegative strategy, and for any strategy with at most as many bands as the schedule's
    minimum separation, whose columns meet nowhere. For nonnegative coefficients that do
    not increase and users that move inside windows, a bound that takes the earliest
    rounds and the least differences at once (for minimum separation alone, the worst
    pattern is 0, b, 2b, ...: Kalinin and Lampert 2024, arXiv 2405.13763, Theorem 2). For
    the rest, the greatest products at any difference that the schedule allows.

    Args:
        strategy: first column of C; coefficients left out are zero.
        participation: in which rounds a user can take part.
        rounds: rounds completed, not above or below those planned in particular.
    """
    if rounds == 0:
        return 0.0
    column = _padded(strategy, rounds)
    if participation.window == 1:
        return _cyclic(column, participation.epoch)
    if decreasing(column):
        return leading_pattern(column, participation)[0]
    return _any_windows(column, participation)


def decreasing(column: np.ndarray) -> bool:
    """Whether coefficients are nonnegative and do not increase."""
    return bool(column[-1] >= 0 and np.all(np.diff(column) <= 0))


def leading_pattern(
    column: np.ndarray, participation: participation_lib.ParticipationSchedule
) -> tuple[float, np.ndarray]:
    """Returns the sum of products over the earliest pattern, and its gradient.

    The i-th participation is in round i B at the earliest (B rounds an epoch), and d
    epochs later is d B - window + 1 rounds later at least. Where products of columns fall
    with both, round and difference, this bounds the sensitivity; for cyclic schedules it
    is that of the users of the first round.

    Args:
        column: first column of C, as long as there are rounds.
        participation: in which rounds a user can take part.
    """
    rounds, epoch = len(column), participation.epoch
    value, gradient = 0.0, np.zeros(rounds)
    starts = np.arange(participation.most(rounds)) * epoch
    for epochs_apart in range(len(starts)):
        lag = max(epochs_apart * epoch - participation.window + 1, 0) if epochs_apart else 0
        # Entries r that are inside the matrix, for how many of the first rounds.
        lasts = rounds - lag - starts[: len(starts) - epochs_apart]
        inside = np.bincount(np.maximum(lasts, 0), minlength=rounds - lag + 1)
        times = np.cumsum(inside[::-1])[::-1][1:] * (2.0 if epochs_apart else 1.0)
        early, late = column[: rounds - lag], column[lag:]
        value += float(times @ (early * late))
        gradient[: rounds - lag] += times * late
        gradient[lag:] += times * early
    return value, gradient


def _cyclic(column: np.ndarray, epoch: int) -> float:
    """Maximum over the first rounds of the sum of absolute products."""
    rounds = len(column)
    sums = np.zeros(min(epoch, rounds))
    for lag in range(0, rounds, epoch):
        products = np.abs(_products(column, lag))
        # Column s meets column s + lag; s is in the class of users of s mod epoch.
        by_user = np.bincount(np.arange(len(products)) % epoch, products, len(sums))
        sums += by_user if lag == 0 else 2 * by_user
    return float(sums.max())


def _any_windows(
    column: np.ndarray, participation: participation_lib.ParticipationSchedule
) -> float:
    rounds, epoch = len(column), participation.epoch
    count = participation.most(rounds)
    # Columns are shorter the later they begin.
    value = float(np.sum(_products(column, 0)[np.arange(count) * epoch]))
    largest = np.array([np.abs(_products(column, lag)).max() for lag in range(rounds)])
    # At a difference or any above it.
    largest = np.maximum.accumulate(largest[::-1])[::-1]
    for epochs_apart in range(1, count):
        lag = epochs_apart * epoch - participation.window + 1
        if lag < rounds:
            value += 2 * (count - epochs_apart) * float(largest[lag])
    return value


def _products(column: np.ndarray, lag: int) -> np.ndarray:
    """G(s, s + lag) for all s."""
    rounds = len(column)
    return np.cumsum(column[: rounds - lag] * column[lag:])[::-1]


def _padded(strategy: np.ndarray, rounds: int) -> np.ndarray:
    column = np.zeros(rounds)
    kept = min(rounds, len(strategy))
    column[:kept] = strategy[:kept]
    return column

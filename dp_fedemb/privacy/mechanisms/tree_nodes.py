"""How often a user's updates enter the nodes of the trees of DP-FTRL.

Kairouz et al. (2021, arXiv 2103.00039, Appendix D.2). A user that takes part in
several rounds below one node moves it by that many updates, so what counts is the sum
over nodes of the squared number of participations, maximised over the patterns that
the sampler can produce. Nodes that are never completed are never released.
"""

import functools
from typing import Optional

import numpy as np

from dp_fedemb.privacy import participation as participation_lib


@functools.lru_cache(maxsize=4096)
def squared_visits(
    participation: participation_lib.ParticipationSchedule,
    rounds: int,
    restart_rounds: Optional[int] = None,
    complete: bool = False,
) -> float:
    """Returns the greatest sum over nodes of squared participations of one user.

    >>> schedule = participation_lib.ParticipationSchedule(epoch=2)
    >>> squared_visits(schedule, rounds=4)  # 2 leaves, 2 pairs, 1 root
    8.0

    Exact for cyclic participation. Where users move inside windows it is an upper
    bound: every level of the trees gets the pattern that is worst for it.

    Args:
        participation: the schedule.
        rounds: rounds completed.
        restart_rounds: rounds of one tree; None for a single tree.
        complete: whether a tree is filled up to a power of two before a restart.
    """
    if rounds == 0:
        return 0.0
    starts, lengths, sizes = _trees(rounds, restart_rounds or rounds, complete)
    per_user = np.zeros(-(-participation.epoch // participation.window))
    length = 1
    while length <= sizes.max():
        begins, ends = _complete_nodes(starts, lengths, sizes, length)
        if participation.window == 1:
            per_user += _level_of_cyclic(participation.epoch, rounds, begins, ends)
        else:
            per_user += _level_of_windows(participation, rounds, begins, ends)
        length *= 2
    return float(per_user.max())


def _trees(
    rounds: int, tree_rounds: int, complete: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First round, number of real rounds and number of leaves of every tree."""
    starts = np.arange(0, rounds, tree_rounds)
    lengths = np.minimum(tree_rounds, rounds - starts)
    # A tree that has not come to its restart is not completed yet.
    filled = 1 << (int(tree_rounds) - 1).bit_length()
    sizes = np.where(complete & (lengths == tree_rounds), filled, lengths)
    return starts, lengths, sizes


def _complete_nodes(
    starts: np.ndarray, lengths: np.ndarray, sizes: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Real rounds [begin, end) below the complete nodes of a level, in order."""
    begins, ends = [], []
    for start, real, size in zip(starts, lengths, sizes):
        first = np.arange(0, (size // length) * length, length)
        first = first[first < real]
        begins.append(start + first)
        ends.append(start + np.minimum(first + length, real))
    return np.concatenate(begins), np.concatenate(ends)


def _level_of_cyclic(
    epoch: int, rounds: int, begins: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Sum of squared visits to a level's nodes, for users of each round of an epoch."""
    all_rounds = np.arange(rounds)
    node = np.searchsorted(begins, all_rounds, side='right') - 1
    inside = node >= 0
    inside[inside] = all_rounds[inside] < ends[node[inside]]
    keys = (all_rounds % epoch)[inside] * len(begins) + node[inside]
    visited, visits = np.unique(keys, return_counts=True)
    squares = np.zeros(epoch)
    np.add.at(squares, visited // max(len(begins), 1), visits.astype(float) ** 2)
    return squares


def _level_of_windows(
    participation: participation_lib.ParticipationSchedule,
    rounds: int,
    begins: np.ndarray,
    ends: np.ndarray,
) -> np.ndarray:
    """As `_level_of_cyclic`, for the worst choice of rounds inside each window."""
    first_rounds = np.arange(0, participation.epoch, participation.window)
    return np.array(
        [_worst_grouping(participation, rounds, begins, ends, first) for first in first_rounds]
    )


def _worst_grouping(
    participation: participation_lib.ParticipationSchedule,
    rounds: int,
    begins: np.ndarray,
    ends: np.ndarray,
    first: int,
) -> float:
    """Most squared visits of one user whose windows start at `first` in an epoch.

    Each epoch's window offers a range of nodes; consecutive epochs can meet in one
    node if the last range begins before the first one ends. Dynamic programming over
    the number of epochs covered finds the best division into such groups.
    """
    open_ = np.arange(first, rounds, participation.epoch)
    last = min(first + participation.window, participation.epoch) - first
    close = np.minimum(open_ + last, rounds)
    low = np.searchsorted(ends, open_, side='right')
    high = np.searchsorted(begins, close, side='left') - 1
    reachable = low <= high
    low, high = low[reachable], high[reachable]
    best = np.zeros(len(low) + 1)
    for count in range(1, len(low) + 1):
        # Smallest group start whose range still reaches the range of epoch count - 1.
        earliest = np.searchsorted(high[:count], low[count - 1], side='left')
        sizes = count - np.arange(earliest, count)
        best[count] = np.max(best[earliest:count] + sizes.astype(float) ** 2)
    return best[-1]

"""Whole groups: a round's users in groups that do not depend on data, or in slots.

In whole groups the public roster of N places is divided anew in every round, by
randomness that does not depend on data, into groups of k (a last one of the N mod k
left over), and a group takes part as a whole. A group with an absent member is void:
it contributes nothing, neither to the sum nor to the counts. In slots every user is
placed by itself, and whoever is absent leaves the others of its slot behind.
"""

import numpy as np

from dp_fedemb.privacy import sensitivity

GROUPS, SLOTS = 'groups', 'slots'
# Name (as in --grouping) -> what it is.
GROUPINGS = {
    GROUPS: 'the roster is divided into groups of k, which take part as a whole',
    SLOTS: 'users take part each by itself and are placed in virtual clients',
}
HELP = (
    'Poisson and schedules: groups, where k users take part together, or slots, where each'
    ' comes by itself at twice the sensitivity.'
)


def divide(places: np.ndarray, size: int) -> 'tuple[np.ndarray, ...]':
    """Cuts places into groups of `size` in their order; the last one may be smaller."""
    return tuple(places[i : i + size].astype(np.int64) for i in range(0, len(places), size))


def record_change(unit: str) -> sensitivity.RecordChange:
    """Returns what a unit of whole groups changes in a round, whichever sampler draws them.

    A replaced user's group sends another clipped update; an absent one's is void, and a
    virtual client is absent as a whole, in slots, too.
    """
    return sensitivity.REPLACED if unit == 'user' else sensitivity.REMOVED

"""How well scores tell members from others: rates, intervals, and what is allowed.

Intervals are over users, since a user's scores in several models are no independent
trials: users are resampled with all their scores (Efron and Tibshirani 1993, chapter 13).
"""

import dataclasses
from typing import Any

import numpy as np
from numpy import typing as npt

from dp_fedemb.auditing.estimators import trade_off

Array = npt.NDArray[np.float64]
Bits = npt.NDArray[np.bool_]
FPRS = (1e-2, 1e-3)
_REPLICATES = 500
LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Rate:
    """True positive rate at a false positive rate.

    Attributes:
        fpr: at most this.
        tpr: share of members that are found.
        low: end of the 95% interval over users.
        high: its other end.
        false_positives: non-members above the threshold; with few of them the rate is a
            guess, and with fewer non-members than 1 / fpr it is that of none of them.
        non_members: scores of non-members.
    """

    fpr: float
    tpr: float
    low: float
    high: float
    false_positives: int
    non_members: int

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values."""
        return dataclasses.asdict(self)


def curve(scores: Array, members: Bits) -> tuple[Array, Array]:
    """Returns false and true positive rates for all thresholds, both ascending from 0.

    A user with the score of the threshold counts as found; equal scores come together.
    """
    order = np.argsort(-scores, kind='stable')
    ordered, found = scores[order], members[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    true = np.cumsum(found)[last] / max(found.sum(), 1)
    false = np.cumsum(~found)[last] / max((~found).sum(), 1)
    return np.append(0.0, false), np.append(0.0, true)


def tpr_at(scores: Array, members: Bits, fpr: float) -> float:
    """Returns the true positive rate of the lowest threshold within a false positive rate."""
    false, true = curve(scores, members)
    return float(true[np.searchsorted(false, fpr * (1 + 1e-9), side='right') - 1])


def auc(scores: Array, members: Bits) -> float:
    """Returns the area under the curve: 1/2 for chance."""
    false, true = curve(scores, members)
    return float(np.trapz(true, false))


def rates(scores: Array, members: Bits, fprs: tuple[float, ...] = FPRS) -> list[Rate]:
    """Returns rates with intervals.

    Args:
        scores: [models, users], or [users].
        members: of the same shape.
        fprs: false positive rates.

    Raises:
        ValueError: without members, or without others.
    """
    scores, members = np.atleast_2d(scores), np.atleast_2d(members)
    if not members.any() or members.all():
        raise ValueError(
            f'{int(members.sum())} members of {members.size}: expected members and others'
        )
    users = scores.shape[1]
    generator = np.random.default_rng(0)
    drawn: list[list[float]] = []
    for _ in range(_REPLICATES):
        picked = generator.integers(0, users, users)
        flat, bits = scores[:, picked].ravel(), members[:, picked].ravel()
        if bits.any() and not bits.all():
            drawn.append([tpr_at(flat, bits, fpr) for fpr in fprs])
    tail = (1 - LEVEL) / 2
    ends = np.quantile(np.array(drawn), [tail, 1 - tail], axis=0)
    flat, bits = scores.ravel(), members.ravel()
    others = int((~bits).sum())
    return [
        Rate(
            fpr,
            tpr_at(flat, bits, fpr),
            float(ends[0, index]),
            float(ends[1, index]),
            int(fpr * others * (1 + 1e-9)),
            others,
        )
        for index, fpr in enumerate(fprs)
    ]


def allowed(guarantee: trade_off.TradeOff, fpr: float) -> float:
    """Returns the greatest true positive rate that a guarantee allows."""
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if guarantee.allows(fpr, middle):
            low = middle
        else:
            high = middle
    return high

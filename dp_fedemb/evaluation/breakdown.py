"""For whom a model works: recall per identity, per user and per group.

One threshold for all, that of the false accept rate over all pairs, as in use. Each
genuine pair counts for both its images: the recall of some images is the accepted
fraction of all genuine pairs that begin at one of them, and their false accept rate
that of the impostor pairs. Intervals resample identities, see `intervals`.

Differential privacy costs those who are few the most (Bagdasaryan et al. 2019, arXiv
1905.12101), so recall is also given against a user's number of images.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any, Optional

import numpy as np

from dp_fedemb.evaluation import embedded_images
from dp_fedemb.evaluation import intervals

WORST = 0.05


@dataclasses.dataclass(frozen=True)
class Parts:
    """Images in parts: all images of an identity, of a user or of a group.

    Attributes:
        names: [p] of the parts.
        images: int64 [p], images of each.
        pairs: int64 [p], ends of genuine pairs.
        accepted: int64 [p], those whose pair is accepted.
        false_accept_rate: float64 [p], accepted fraction of the impostor pairs.
    """

    names: np.ndarray
    images: np.ndarray
    pairs: np.ndarray
    accepted: np.ndarray
    false_accept_rate: np.ndarray

    @functools.cached_property
    def recall(self) -> np.ndarray:
        """Recall of each part; NaN of one that is in no genuine pair."""
        with np.errstate(invalid='ignore'):
            return self.accepted / np.where(self.pairs, self.pairs, np.nan)

    def summary(self) -> dict[str, Any]:
        """Returns how recall spreads over the parts that have a genuine pair.

        `worst_recall` is the mean over the `WORST` part of them, at least one.
        """
        known = np.sort(self.recall[self.pairs > 0])
        if not len(known):
            return {'count': 0}
        worst = max(1, int(np.ceil(WORST * len(known))))
        return {
            'count': len(known),
            'mean': float(known.mean()),
            'median': float(np.median(known)),
            'worst_count': worst,
            'worst_mean': float(known[:worst].mean()),
            'at_zero': int((known == 0).sum()),
        }


@dataclasses.dataclass(frozen=True)
class Breakdown:
    """What images accept at one threshold.

    Attributes:
        identities: int [n], the identity of each image.
        pairs: int64 [n], genuine pairs of each image.
        accepted: int64 [n], accepted ones.
        false_accepts: int64 [n], accepted impostor pairs.
    """

    identities: np.ndarray
    pairs: np.ndarray
    accepted: np.ndarray
    false_accepts: np.ndarray

    def by(self, labels: np.ndarray) -> Parts:
        """Adds up the images of each label."""
        names, places = np.unique(labels, return_inverse=True)

        def total(values: np.ndarray) -> np.ndarray:
            return np.bincount(places, values, len(names)).astype(np.int64)

        impostors = total(len(labels) - 1 - self.pairs)
        return Parts(
            names,
            np.bincount(places, minlength=len(names)),
            total(self.pairs),
            total(self.accepted),
            total(self.false_accepts) / np.maximum(impostors, 1),
        )

    def of(self, mask: np.ndarray) -> intervals.IdentityRecall:
        """Returns the recall of each identity over some images of it."""
        kept = mask & (self.pairs > 0)
        names, places = np.unique(self.identities[kept], return_inverse=True)
        sums = [
            np.bincount(places, values[kept], len(names)).astype(np.int64)
            for values in (self.accepted, self.pairs)
        ]
        return intervals.IdentityRecall(names, *sums)

    def row(self, mask: np.ndarray) -> dict[str, Any]:
        """Returns counts, recall with its interval and false accept rate of some images."""
        recall = self.of(mask)
        low = high = value = None
        if len(recall.identities):
            value = float(recall.accepted.sum() / recall.pairs.sum())
            low, high = recall.interval()
        impostors = int((len(mask) - 1 - self.pairs[mask]).sum())
        return {
            'identities': len(np.unique(self.identities[mask])),
            'images': int(mask.sum()),
            'recall': value,
            'low': low,
            'high': high,
            'false_accept_rate': int(self.false_accepts[mask].sum()) / max(impostors, 1),
        }


def of_images(images: embedded_images.EmbeddedImages, far: float) -> Breakdown:
    """Looks at every pair once more, at the threshold of one of the images' rates.

    Raises:
        ValueError: if the rate is not one of theirs, or not resolvable.
    """
    point = images.point(far)
    if not point.resolvable:
        raise ValueError(f'breakdown at FAR {far:g}: not resolvable: {point.reason}')
    accepted, false_accepts = images.scores.accepted_by_image(point.threshold)
    _, labels, counts = np.unique(images.identities, return_inverse=True, return_counts=True)
    return Breakdown(labels, counts[labels] - 1, accepted, false_accepts)


def summarise(
    breakdown: Breakdown, users: np.ndarray, groups: Optional[np.ndarray] = None
) -> dict[str, Any]:
    """Returns JSON values that name nobody but the groups.

    Args:
        breakdown: of the images.
        users: [n], the user of each image.
        groups: [n], the group of each image, or None.

    Returns:
        `identities` and `users` (of `Parts.summary`), `by_number_of_images` (a row for
        users with 1, 2 to 3, 4 to 7, ... images), and with groups `groups` and their
        `gap`, None for fewer than two that have a recall.
    """
    values: dict[str, Any] = {
        'identities': breakdown.by(breakdown.identities).summary(),
        'users': breakdown.by(users).summary(),
        'by_number_of_images': _by_number_of_images(breakdown, users),
    }
    if groups is not None:
        values['groups'] = {
            str(name): breakdown.row(groups == name) for name in np.unique(groups)
        }
        values['gap'] = _gap(breakdown, groups, values['groups'])
    return values


def _by_number_of_images(breakdown: Breakdown, users: np.ndarray) -> list[dict[str, Any]]:
    _, places, counts = np.unique(users, return_inverse=True, return_counts=True)
    # Of each image: the power of two that its user's number of images has reached.
    powers = np.floor(np.log2(counts)).astype(np.int64)
    rows = []
    for power in np.unique(powers):
        within = counts[powers == power]
        row = breakdown.row((powers == power)[places])
        limits = {'from': int(within.min()), 'to': int(within.max()), 'users': len(within)}
        rows.append({**limits, **row})
    return rows


def _gap(
    breakdown: Breakdown, groups: np.ndarray, rows: Mapping[str, Mapping[str, Any]]
) -> Optional[dict[str, Any]]:
    """Between the groups of greatest and of least recall."""
    known = {name: row['recall'] for name, row in rows.items() if row['recall'] is not None}
    if len(known) < 2:
        return None
    best, worst = max(known, key=lambda n: known[n]), min(known, key=lambda n: known[n])
    names = groups.astype(str)
    draws = [
        intervals.resampled([breakdown.of(names == name)], seed=seed)[:, 0]
        for seed, name in enumerate((best, worst))
    ]
    low, high = intervals.percentiles(draws[0] - draws[1])
    return {
        'best': best,
        'worst': worst,
        'difference': known[best] - known[worst],
        'low': low,
        'high': high,
    }

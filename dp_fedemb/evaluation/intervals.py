"""Confidence intervals of recall@FAR by a bootstrap over identities.

Pairs are not independent: an image is in many of them, and an identity that is hard is
hard in all its pairs. So identities are resampled, with all their genuine pairs, and
the interval is between percentiles of the recall (Efron and Tibshirani 1993, chapter
13). The threshold stays that of all pairs: impostor pairs outnumber genuine ones by
orders of magnitude, and what the interval says is how far the recall would move with
other identities at this threshold.

Two models are compared on the same draws of identities, so that what is hard for both
cancels out of the difference (a paired bootstrap).
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from dp_fedemb import validate
from dp_fedemb.evaluation import all_pairs
from dp_fedemb.evaluation import verification

REPLICATES = 1000
LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class IdentityRecall:
    """Recall of each identity at one threshold.

    Attributes:
        identities: those with at least one genuine pair.
        accepted: int64, accepted genuine pairs of each.
        pairs: int64, genuine pairs of each.
    """

    identities: np.ndarray
    accepted: np.ndarray
    pairs: np.ndarray

    @property
    def recall(self) -> np.ndarray:
        """Recall of each identity."""
        return self.accepted / self.pairs

    def interval(
        self, level: float = LEVEL, replicates: int = REPLICATES, seed: int = 0
    ) -> tuple[float, float]:
        """Returns the ends of the confidence interval of the recall over all pairs.

        Args:
            level: probability that it is meant to cover, in (0, 1).
            replicates: number of resamples.
            seed: of the resampling.
        """
        return percentiles(resampled([self], replicates, seed)[:, 0], level)


def difference_interval(
    one: IdentityRecall,
    other: IdentityRecall,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the ends of the interval of `one`'s recall minus `other`'s.

    Raises:
        ValueError: if they are not of the same identities and pairs.
    """
    recalls = resampled([one, other], replicates, seed)
    return percentiles(recalls[:, 0] - recalls[:, 1], level)


def resampled(
    recalls: Sequence[IdentityRecall], replicates: int = REPLICATES, seed: int = 0
) -> np.ndarray:
    """Draws identities with replacement, the same ones for all `recalls`.

    Returns:
        float64 [replicates, len(recalls)], the recall over the pairs of each draw.

    Raises:
        ValueError: for no replicate, or recalls of different identities or pairs.
    """
    validate.positive(replicates=replicates)
    first = recalls[0]
    for other in recalls[1:]:
        if not (
            np.array_equal(other.identities, first.identities)
            and np.array_equal(other.pairs, first.pairs)
        ):
            raise ValueError('recalls of different identities or pairs cannot be paired')
    accepted = np.stack([recall.accepted for recall in recalls], axis=1)
    generator = np.random.default_rng(seed)
    count = len(first.identities)
    values = np.empty((replicates, len(recalls)))
    for replicate in range(replicates):
        # How often each identity was drawn.
        drawn = np.bincount(generator.integers(0, count, count), minlength=count)
        values[replicate] = (drawn @ accepted) / (drawn @ first.pairs)
    return values


def percentiles(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Returns the ends between which a fraction `level` of the values lies."""
    if not 0 < level < 1:
        raise ValueError(f'level={level}: expected a number above 0 and below 1')
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def recall_by_identity(
    scores: all_pairs.PairScores, point: verification.OperatingPoint
) -> IdentityRecall:
    """Returns the recall of each identity at a resolvable operating point."""
    pairs = scores.counts * (scores.counts - 1) // 2
    accepted = scores.accepted_by_identity(point.threshold)
    kept = pairs > 0
    return IdentityRecall(scores.identities[kept], accepted[kept], pairs[kept])

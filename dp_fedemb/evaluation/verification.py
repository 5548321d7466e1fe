"""Exact verification over all pairs: recall at a false accept rate, ROC, AUC, EER.

Conventions, the same everywhere:

*   A pair is two distinct images, unordered; an image is never compared with itself.
    It is genuine if both show one identity, and an impostor pair otherwise.
*   A pair is accepted if its similarity is at least the threshold.
*   FAR is the accepted fraction of impostor pairs, recall (TAR, the paper's
    recall@FAR) the accepted fraction of genuine pairs.
*   The threshold of a target FAR is the smallest one whose FAR does not exceed the
    target: equal similarities are accepted together or not at all.
*   A FAR is resolvable if it allows at least one impostor pair. Where it is not, or
    where no pair is genuine, recall is NaN and `reason` says why.

Similarities are multiples of `all_pairs.STEP`, and so are thresholds.
"""

from collections.abc import Sequence
import dataclasses
import fractions
from typing import Any, Optional

import numpy as np

from dp_fedemb import validate
from dp_fedemb.evaluation import all_pairs
from dp_fedemb.evaluation import pair_counts

FARS = (1e-3, 1e-2)
# What an evaluation looks at unless told otherwise.
MANY_FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
# A rate that allows fewer impostor pairs than this is resolved by chance.
SAFE_IMPOSTORS = 10
_RECALL = 'recall@FAR='


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """Recall where the false accept rate is just not above a target.

    Attributes:
        target_far: as asked for.
        recall: accepted fraction of the genuine pairs; NaN if not resolvable.
        far: accepted fraction of the impostor pairs.
        threshold: the smallest similarity that is accepted; it may lie above the
            largest one, and then no pair is.
        accepted_genuine: accepted genuine pairs.
        accepted_impostors: accepted impostor pairs.
        reason: why the target is not resolvable; empty if it is.
    """

    target_far: float
    recall: float
    far: float
    threshold: float
    accepted_genuine: int
    accepted_impostors: int
    reason: str = ''

    @property
    def resolvable(self) -> bool:
        """Whether `recall` is a number."""
        return not self.reason

    def warning(self, impostor_pairs: int) -> str:
        """Returns why the recall is a matter of chance, or nothing."""
        allowed = self.target_far * impostor_pairs
        if not self.resolvable or allowed >= SAFE_IMPOSTORS:
            return ''
        return (
            f'rests on {allowed:.3g} of {impostor_pairs:,} impostor pairs; expected at least'
            f' {SAFE_IMPOSTORS}'
        )


@dataclasses.dataclass(frozen=True)
class Verification:
    """What all pairs say.

    Attributes:
        points: one for each target FAR.
        genuine_pairs: number of them.
        impostor_pairs: number of them.
        auc: area under the ROC curve, the probability that a genuine pair is more
            similar than an impostor pair, ties counting half.
        auc_error: what `auc` may be off by, because pairs of one bin of the
            histograms are taken as tied.
        eer: equal error rate: over all thresholds, the least of the larger of FAR and
            the rejected fraction of genuine pairs.
        eer_threshold: where that is.
        genuine: int64 [B] histogram of the similarity of genuine pairs.
        impostor: the same of impostor pairs.
        edges: float64 [B + 1], the bins' edges.
    """

    points: tuple[OperatingPoint, ...]
    genuine_pairs: int
    impostor_pairs: int
    auc: float
    auc_error: float
    eer: float
    eer_threshold: float
    genuine: np.ndarray = dataclasses.field(repr=False)
    impostor: np.ndarray = dataclasses.field(repr=False)
    edges: np.ndarray = dataclasses.field(repr=False)

    def roc(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns FAR, recall and threshold of exact points of the ROC curve.

        Thresholds are the bins' edges from high to low; points that repeat the one
        before are left out. Empty if there is no genuine or no impostor pair.
        """
        if not self.genuine_pairs or not self.impostor_pairs:
            return np.empty(0), np.empty(0), np.empty(0)
        genuine = np.cumsum(np.append(0, self.genuine[::-1]))
        impostor = np.cumsum(np.append(0, self.impostor[::-1]))
        moved = (np.diff(genuine) > 0) | (np.diff(impostor) > 0)
        kept = np.append(True, moved)
        return (
            impostor[kept] / self.impostor_pairs,
            genuine[kept] / self.genuine_pairs,
            self.edges[::-1][kept],
        )


def verify(
    embeddings: np.ndarray, identities: np.ndarray, fars: Sequence[float] = FARS
) -> Verification:
    """Compares all pairs.

    Args:
        embeddings: float32 [n, D], each of norm 1 (or 0).
        identities: [n], numbers or names.
        fars: target false accept rates, each in (0, 1).

    Raises:
        ValueError: for a FAR outside (0, 1), or wrong embeddings.
    """
    return of_scores(all_pairs.PairScores(embeddings, identities), fars)


def of_scores(scores: all_pairs.PairScores, fars: Sequence[float] = FARS) -> Verification:
    """Is `verify` for pairs that other figures need, too."""
    check_fars(fars)
    genuine, impostor = scores.histograms()
    counts = pair_counts.PairCounts(genuine, impostor)
    allowed = {far: _allowed(far, counts.impostor_pairs) for far in fars}
    wanted = {far: counts.impostor_bin(most) for far, most in allowed.items() if most}
    crossing = counts.crossing_bin()
    bins = sorted({*wanted.values(), *([] if crossing is None else [crossing])})
    if bins:
        counts.add_steps(bins, *scores.resolve(bins))
    eer, eer_threshold = counts.equal_error(crossing)
    auc, auc_error = counts.area()
    return Verification(
        points=tuple(_at_far(counts, far, allowed[far], wanted.get(far)) for far in fars),
        genuine_pairs=counts.genuine_pairs,
        impostor_pairs=counts.impostor_pairs,
        auc=auc,
        auc_error=auc_error,
        eer=eer,
        eer_threshold=eer_threshold,
        genuine=genuine,
        impostor=impostor,
        edges=all_pairs.bin_edges(),
    )


def recall_at_far(
    embeddings: np.ndarray, identities: np.ndarray, fars: Sequence[float] = FARS
) -> tuple[OperatingPoint, ...]:
    """Returns the operating point of each target FAR; see `verify`."""
    return verify(embeddings, identities, fars).points


def of_sorted_steps(
    genuine: np.ndarray, impostor: np.ndarray, fars: Sequence[float]
) -> tuple[OperatingPoint, ...]:
    """Returns the operating points of given pairs.

    Args:
        genuine: int64 [g] similarities in steps of `all_pairs.STEP`, ascending.
        impostor: int64 [i], the same of impostor pairs.
        fars: target false accept rates, each in (0, 1).
    """
    check_fars(fars)
    points = []
    for far in fars:
        allowed = _allowed(far, len(impostor))
        reason = _unresolvable(far, allowed, len(genuine), len(impostor))
        if reason:
            points.append(_no_point(far, reason))
            continue
        # Just above the most similar impostor that must be rejected.
        lowest = impostor[len(impostor) - 1 - allowed] + 1
        accepted = [len(s) - int(np.searchsorted(s, lowest)) for s in (genuine, impostor)]
        points.append(
            _point(far, lowest * all_pairs.STEP, accepted, len(genuine), len(impostor))
        )
    return tuple(points)


def recall_name(far: float) -> str:
    """Returns what the recall at a target false accept rate is called everywhere."""
    return f'{_RECALL}{far:g}'


def is_recall(name: str) -> bool:
    """Returns whether a figure is such a recall, or an end of its interval."""
    return name.startswith(_RECALL)


def check_fars(fars: Sequence[float], name: str = 'far') -> None:
    """Raises ValueError for a target that is none, or so small that no pairs settle it."""
    for far in fars:
        validate.within('[1e-12, 1)', **{name: far})


def _allowed(far: float, impostor_pairs: int) -> int:
    """Impostor pairs that a target allows; in decimals, so 0.29 of 100 is 29."""
    return int(fractions.Fraction(repr(float(far))) * impostor_pairs)


def _at_far(
    counts: pair_counts.PairCounts, far: float, allowed: int, number: Optional[int]
) -> OperatingPoint:
    """The operating point of a target, which lies in bin `number`, if it is resolvable."""
    reason = _unresolvable(far, allowed, counts.genuine_pairs, counts.impostor_pairs)
    if reason or number is None:
        return _no_point(far, reason)
    threshold, accepted = counts.most_accepted(number, allowed)
    return _point(far, threshold, accepted, counts.genuine_pairs, counts.impostor_pairs)


def _unresolvable(far: float, allowed: int, genuine_pairs: int, impostor_pairs: int) -> str:
    """Returns why a target is not resolvable, or nothing."""
    if not genuine_pairs:
        return 'no pair is genuine: no identity has two images'
    if not allowed:
        return (
            f'{impostor_pairs:,} impostor pairs cannot resolve it: expected at least'
            f' {int(np.ceil(1 / far)):,}'
        )
    return ''


def _no_point(far: float, reason: str) -> OperatingPoint:
    return OperatingPoint(far, np.nan, np.nan, np.nan, 0, 0, reason)


def _point(
    far: float,
    threshold: float,
    accepted: Sequence[int],
    genuine_pairs: int,
    impostor_pairs: int,
) -> OperatingPoint:
    genuine, impostor = accepted
    return OperatingPoint(
        target_far=far,
        recall=genuine / genuine_pairs,
        far=impostor / impostor_pairs,
        threshold=float(threshold),
        accepted_genuine=genuine,
        accepted_impostors=impostor,
    )


def metrics(images: Any) -> dict[str, float]:
    """Returns the figures of all pairs by name."""
    result = images.verification
    values = {recall_name(point.target_far): point.recall for point in result.points}
    return {**values, 'auc': result.auc, 'eer': result.eer}

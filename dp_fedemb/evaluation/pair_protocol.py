"""Verification by a given list of pairs in folds, as in LFW's official protocol.

Labeled Faces in the Wild (Huang et al. 2007, UMass technical report 07-49), view 2:
ten folds of 300 genuine and 300 impostor pairs. The threshold is chosen on nine folds
and judged on the tenth, ten times over; what is reported is the mean of the ten
accuracies and their deviation.

A pair is accepted if its similarity is at least the threshold, as in `verification`.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from dp_fedemb.evaluation import all_pairs
from dp_fedemb.evaluation import verification


@dataclasses.dataclass(frozen=True)
class VerificationPairs:
    """A protocol: pairs of rows of a task's test store.

    Attributes:
        first: int64 [p], rows.
        second: int64 [p], rows.
        same: bool [p], whether both show one identity.
        fold: int32 [p], the fold of each pair, 0..F-1, F >= 2.
    """

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    fold: np.ndarray

    def __post_init__(self) -> None:
        for name, kind in (
            ('first', np.int64),
            ('second', np.int64),
            ('same', bool),
            ('fold', np.int32),
        ):
            object.__setattr__(self, name, np.asarray(getattr(self, name), kind))
        shapes = {getattr(self, f.name).shape for f in dataclasses.fields(self)}
        if len(shapes) != 1 or len(self.first.shape) != 1 or not len(self.first):
            raise ValueError(
                f'pairs of shapes {sorted(map(list, shapes))}: expected one length of at'
                ' least 1 for first, second, same and fold'
            )
        folds = np.unique(self.fold)
        if len(folds) < 2 or folds[0] != 0 or folds[-1] != len(folds) - 1:
            raise ValueError(f'folds {folds.tolist()}: expected 0, 1, ... and at least two')
        if min(self.first.min(), self.second.min()) < 0:
            raise ValueError('pairs: a row is negative; expected rows of the test store')

    @property
    def num_folds(self) -> int:
        """Number of folds."""
        return int(self.fold.max()) + 1


@dataclasses.dataclass(frozen=True)
class ProtocolResult:
    """What a protocol says.

    Attributes:
        accuracies: float64 [F], of each fold at the threshold of the others.
        thresholds: float64 [F].
        accuracy: their mean.
        accuracy_std: standard deviation over the folds (divisor F - 1).
        accuracy_stderr: the same over the square root of F, as LFW's results state.
        points: recall (TAR) at each target FAR over all pairs of the protocol.
        genuine_pairs: number of them.
        impostor_pairs: number of them.
    """

    accuracies: np.ndarray
    thresholds: np.ndarray
    accuracy: float
    accuracy_std: float
    accuracy_stderr: float
    points: tuple[verification.OperatingPoint, ...]
    genuine_pairs: int
    impostor_pairs: int


def evaluate(
    embeddings: np.ndarray,
    pairs: VerificationPairs,
    fars: Sequence[float] = verification.FARS,
) -> ProtocolResult:
    """Judges embeddings by a protocol.

    Among thresholds of equal accuracy on the other folds, the lowest is taken.

    Args:
        embeddings: float32 [n, D], each of norm 1 (or 0), of the test store's rows.
        pairs: rows of `embeddings`.
        fars: target false accept rates, each in (0, 1).

    Raises:
        ValueError: if there are fewer embeddings than the pairs speak of.
    """
    all_pairs.check(embeddings, np.zeros(len(embeddings)))
    last = int(max(pairs.first.max(), pairs.second.max()))
    if last >= len(embeddings):
        raise ValueError(
            f'pairs speak of row {last}, there are {len(embeddings)} embeddings: the'
            ' pairs belong to another store'
        )
    scores = _similarities(embeddings, pairs)
    accuracies, thresholds = np.empty((2, pairs.num_folds))
    for fold in range(pairs.num_folds):
        held_out = pairs.fold == fold
        threshold = _best_threshold(scores[~held_out], pairs.same[~held_out])
        accepted = scores[held_out] >= threshold
        accuracies[fold] = np.mean(accepted == pairs.same[held_out])
        thresholds[fold] = threshold * all_pairs.STEP
    deviation = float(np.std(accuracies, ddof=1))
    genuine, impostor = np.sort(scores[pairs.same]), np.sort(scores[~pairs.same])
    return ProtocolResult(
        accuracies=accuracies,
        thresholds=thresholds,
        accuracy=float(accuracies.mean()),
        accuracy_std=deviation,
        accuracy_stderr=deviation / np.sqrt(pairs.num_folds),
        points=verification.of_sorted_steps(genuine, impostor, fars),
        genuine_pairs=len(genuine),
        impostor_pairs=len(impostor),
    )


def _similarities(
    embeddings: np.ndarray, pairs: VerificationPairs, block: int = 1 << 16
) -> np.ndarray:
    """Similarities in whole steps, int64 [p]."""
    steps = np.empty(len(pairs.first), np.int64)
    for start in range(0, len(steps), block):
        rows = slice(start, start + block)
        products = np.einsum(
            'pd,pd->p', embeddings[pairs.first[rows]], embeddings[pairs.second[rows]]
        )
        steps[rows] = np.rint(products / np.float32(all_pairs.STEP))
    return steps


def _best_threshold(scores: np.ndarray, same: np.ndarray) -> int:
    """The lowest of the thresholds with the most pairs right."""
    order = np.argsort(scores, kind='stable')
    ordered, genuine = scores[order], same[order]
    # Right if everything from place t on is accepted: impostors before it, genuine after.
    right = np.append(0, np.cumsum(~genuine))
    right += np.append(np.cumsum(genuine[::-1])[::-1], 0)
    # Equal similarities cannot be told apart: a threshold stands before a new value.
    possible = np.append(True, np.append(np.diff(ordered) > 0, True))
    place = int(np.argmax(np.where(possible, right, -1)))
    return ordered[place] if place < len(ordered) else ordered[-1] + 1


def metrics(images: Any) -> dict[str, float]:
    """Returns the figures of the task's own protocol by name.

    Raises:
        ValueError: if the task has none.
    """
    if images.pairs is None:
        raise ValueError('metric pairs: the task has no list of pairs for this part')
    result = evaluate(images.embeddings, images.pairs, images.fars)
    return {
        'pairs accuracy': result.accuracy,
        'pairs accuracy std': result.accuracy_std,
        **{f'pairs TAR@FAR={p.target_far:g}': p.recall for p in result.points},
    }

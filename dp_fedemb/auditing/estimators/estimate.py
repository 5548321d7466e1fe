"""What an estimator returns, and how a game with secret bits is cut into guesses."""

from collections.abc import Iterator, Sequence
import dataclasses
import math
from typing import Any

import numpy as np
from numpy import typing as npt

from dp_fedemb import json_files
from dp_fedemb import validate

# Chance of an alarm on correct code, for each claim and estimator: below usual levels,
# since an audit makes many tests and is run many times. (Not further: what one run shows
# cannot be told from the delta of the claim.)
ALARM = 1e-4
# Of the canaries, how many are guessed; the others are passed over. Chosen before anything
# is seen, and paid for by testing each at a fraction of the level.
FRACTIONS = (0.01, 0.05, 0.25, 1.0)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimate of epsilon from one estimator.

    Attributes:
        estimator: name.
        epsilon: point estimate; infinite where nothing bounds it.
        lower: lower bound at `confidence`: on a mechanism of a smaller epsilon it comes
            out as large with a probability of at most 1 - confidence.
        confidence: of the lower bound.
        delta: at which both are stated.
        claimed: epsilon of the accountant, infinite for none.
        alarm: whether the claim is refuted at level `ALARM`.
        facts: counts behind it, for audit.json.
    """

    estimator: str
    epsilon: float
    lower: float
    confidence: float
    delta: float
    claimed: float
    alarm: bool
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def tightness(self) -> float:
        """Lower bound over claim; NaN without a claim."""
        finite = math.isfinite(self.claimed) and self.claimed > 0
        return self.lower / self.claimed if finite else math.nan

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values; null for what is infinite or does not apply."""
        return json_files.finite({**dataclasses.asdict(self), 'tightness': self.tightness})


@dataclasses.dataclass(frozen=True)
class Guesses:
    """Guesses of secret bits of one run.

    Attributes:
        canaries: m, bits that were drawn, each with probability 1/2.
        made: how many were guessed.
        correct: how many of them correctly.
    """

    canaries: int
    made: int
    correct: int


def check_scores(scores: npt.ArrayLike, bits: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores float64 [m] and bits bool [m].

    Raises:
        ValueError: for other shapes, NaN, or no canary.
    """
    scores, bits = np.asarray(scores, np.float64), np.asarray(bits, bool)
    if scores.ndim != 1 or scores.shape != bits.shape or not len(scores):
        raise ValueError(
            f'scores {list(scores.shape)} and bits {list(bits.shape)}: expected one of each'
            ' for every canary, and at least one canary'
        )
    if np.isnan(scores).any():
        raise ValueError(
            f'scores: {int(np.isnan(scores).sum())} of {len(scores)} are NaN; expected numbers'
        )
    return scores, bits


def guesses(
    scores: npt.ArrayLike, bits: npt.ArrayLike, fractions: Sequence[float] = FRACTIONS
) -> Iterator[Guesses]:
    """Guesses the bits of the canaries with the most telling scores.

    The highest scores are guessed to be 1 and as many of the lowest to be 0, so that
    nothing of the bits enters but through the scores.

    Args:
        scores: float [m], greater where the bit is 1.
        bits: bool [m], drawn uniformly and independently.
        fractions: of the canaries to guess.
    """
    scores, bits = check_scores(scores, bits)
    order = np.argsort(scores, kind='stable')
    ones_below = np.concatenate([[0], np.cumsum(bits[order])])
    count, ones = len(scores), int(bits.sum())
    for fraction in fractions:
        validate.positive(fraction=fraction)
        made = min(max(round(fraction * count), 1), count)
        high = made - made // 2
        low = made - high
        correct = ones - ones_below[count - high] + low - ones_below[low]
        yield Guesses(count, made, int(correct))

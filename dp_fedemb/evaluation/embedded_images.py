"""Embedded images with their identities: what every metric looks at."""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Optional

import numpy as np

from dp_fedemb.evaluation import all_pairs
from dp_fedemb.evaluation import pair_protocol as pairs_lib
from dp_fedemb.evaluation import verification as verification_lib


@dataclasses.dataclass(frozen=True)
class EmbeddedImages:
    """The input of a metric; what several metrics need is computed once.

    Attributes:
        embeddings: float32 [n, D], each of norm 1 (or 0).
        identities: [n], numbers or names.
        fars: false accept rates to state the recall at.
        pairs: the task's own verification protocol, or None.
    """

    embeddings: np.ndarray
    identities: np.ndarray
    fars: Sequence[float] = verification_lib.FARS
    pairs: Optional[pairs_lib.VerificationPairs] = None

    def __post_init__(self) -> None:
        verification_lib.check_fars(self.fars)
        all_pairs.check(self.embeddings, self.identities)

    @functools.cached_property
    def scores(self) -> all_pairs.PairScores:
        """The similarities of all pairs."""
        return all_pairs.PairScores(self.embeddings, self.identities)

    @functools.cached_property
    def verification(self) -> verification_lib.Verification:
        """Verification over all pairs."""
        return verification_lib.of_scores(self.scores, self.fars)

    def point(self, far: float) -> verification_lib.OperatingPoint:
        """Returns the operating point of one of `fars`.

        Raises:
            ValueError: if it is none of them.
        """
        for point in self.verification.points:
            if point.target_far == far:
                return point
        raise ValueError(f'far={far}: expected one of {", ".join(map(str, self.fars))}')

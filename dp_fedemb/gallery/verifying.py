"""Do two pictures show the same identity?"""

from collections.abc import Callable
import dataclasses
from typing import Any, Optional

import numpy as np

from dp_fedemb import files
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.evaluation import inference
from dp_fedemb.gallery import indexing
from dp_fedemb.gallery import queries
from dp_fedemb.gallery import thresholds as thresholds_lib


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer, and what it is worth.

    Attributes:
        same: whether the score reaches the threshold.
        score: cosine of the two embeddings.
        threshold: of the false accept rate that was asked for.
        far: that rate.
        recall: fraction of pairs of one identity that reach the threshold.
        impostors: bounds of the fraction of pairs of two identities that are at least as
            similar as these pictures; how often it is chance.
        genuine: the same of pairs of one identity.
        genuine_pairs: of the evaluation that all fractions are from.
        impostor_pairs: of that.
    """

    same: bool
    score: float
    threshold: float
    far: float
    recall: float
    impostors: thresholds_lib.Bounds
    genuine: thresholds_lib.Bounds
    genuine_pairs: int
    impostor_pairs: int

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        answer = 'same' if self.same else 'different'
        reaches = 'at or above' if self.same else 'below'
        return '\n'.join(
            [
                f'{answer}: similarity {self.score:.4f}, {reaches} the threshold'
                f' {self.threshold:.4f} of a false accept rate of {self.far:g}',
                f'  of {self.impostor_pairs:,} pairs of two identities in the evaluation,'
                f' {_text(self.impostors)} are at least as similar as these two',
                f'  of {self.genuine_pairs:,} pairs of one identity,'
                f' {_text(self.genuine)} are; {self.recall:.1%} reach the threshold',
            ]
        )


def verify(
    model: inference.SavedEmbeddingModel,
    first: files.PathLike,
    second: files.PathLike,
    far: float,
    thresholds: thresholds_lib.Thresholds,
    preprocessing: Optional[preprocessing_lib.Preprocessing] = None,
    on_note: Callable[[str], None] = lambda note: None,
) -> Verdict:
    """Compares two pictures.

    Args:
        model: of `evaluation.load_model`.
        first: path of a picture.
        second: path of another.
        far: how often two identities may be taken for one, in (0, 1).
        thresholds: of `thresholds.find`.
        preprocessing: to the model's image shape; what the model says by default.
        on_note: called with what is worth noting of the pictures.

    Raises:
        FileNotFoundError: if there is no such picture.
        ValueError: for a picture that cannot be read, or a rate that the evaluation cannot
            support.
    """
    point = thresholds.at(far)
    preprocessing = preprocessing or indexing.preprocessing_of(model)
    embeddings = queries.embed(model, [first, second], preprocessing, on_note)
    a, b = embeddings.astype(np.float64)
    score = min(1.0, max(-1.0, float(a @ b)))
    return Verdict(
        same=score >= point.threshold,
        score=score,
        threshold=point.threshold,
        far=far,
        recall=point.recall,
        impostors=thresholds.impostors_at_least(score),
        genuine=thresholds.genuine_at_least(score),
        genuine_pairs=thresholds.genuine_pairs,
        impostor_pairs=thresholds.impostor_pairs,
    )


def _text(bounds: thresholds_lib.Bounds) -> str:
    low, high = _percent(bounds.low), _percent(bounds.high)
    if bounds.low <= 0:
        return f'at most {high}'
    if bounds.high >= 1:
        return f'at least {low}'
    return high if low == high else f'{low} to {high}'


def _percent(fraction: float) -> str:
    return f'{100 * fraction:.3g}%'

"""Compares a model that was written and read again with the one that it was made from."""

from collections.abc import Mapping
import dataclasses
from typing import Any, Optional

import numpy as np

from dp_fedemb import evaluation
from dp_fedemb.evaluation import verification

# Of each number of an embedding in float32.
TOLERANCE = 1e-5
_BATCH = 256


@dataclasses.dataclass(frozen=True)
class CheckSet:
    """Labelled examples that every format is compared on.

    Attributes:
        examples: [n, *shape].
        identities: [n].
        about: what they are, for people; without names.
        fars: false accept rates to state the recall at.
    """

    examples: np.ndarray
    identities: np.ndarray
    about: str
    fars: tuple[float, ...] = verification.FARS


@dataclasses.dataclass(frozen=True)
class Check:
    """What became of the embeddings.

    Attributes:
        largest_difference: of any number of any embedding.
        least_cosine: between an embedding and the right one.
        recall: by false accept rate, as text; None where it cannot be resolved.
    """

    largest_difference: float
    least_cosine: float
    recall: Mapping[str, Optional[float]]

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values."""
        return dataclasses.asdict(self)


def embeddings_of(embed: Any, examples: np.ndarray) -> np.ndarray:
    """Returns float32 [n, D] as the runtime gives them, not normalised once more."""
    parts = [
        np.asarray(embed(np.ascontiguousarray(examples[start : start + _BATCH])))
        for start in range(0, len(examples), _BATCH)
    ]
    return np.concatenate(parts)


def compare(embeddings: np.ndarray, right: np.ndarray, checked_on: CheckSet) -> Check:
    """Compares embeddings with the right ones, and states their recall.

    Args:
        embeddings: [n, D] of a format.
        right: [n, D] of the SavedModel.
        checked_on: the n examples.

    Raises:
        ValueError: if a number is not finite, or the shape is another one.
    """
    if embeddings.shape != right.shape or not np.isfinite(embeddings).all():
        raise ValueError(
            f'embeddings {list(embeddings.shape)}, expected finite numbers {list(right.shape)}'
        )
    unit = evaluation.embed(lambda batch: batch, embeddings.astype(np.float64), len(right))
    points = evaluation.recall_at_far(unit, checked_on.identities, checked_on.fars)
    return Check(
        float(np.abs(embeddings - right).max()),
        float(np.einsum('nd,nd->n', unit, right).min()),
        {
            f'{point.target_far:g}': float(point.recall) if point.resolvable else None
            for point in points
        },
    )

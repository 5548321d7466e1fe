"""An evaluation as JSON values: what a directory keeps and a report shows."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import math
from typing import Any, Optional

import numpy as np

from dp_fedemb import json_files
from dp_fedemb import validate
from dp_fedemb.evaluation import comparison
from dp_fedemb.evaluation import embedded_images
from dp_fedemb.evaluation import intervals
from dp_fedemb.evaluation import retrieval
from dp_fedemb.evaluation import verification

FAR = 1e-3
_PER_DECADE = 10


@dataclasses.dataclass(frozen=True)
class Rival:
    """What the model is shown beside.

    Attributes:
        name: what it is called.
        description: one line.
        images: the same images, in its own embedding.
    """

    name: str
    description: str
    images: embedded_images.EmbeddedImages


def collect(
    images: embedded_images.EmbeddedImages,
    metrics: Sequence[str],
    about: dict[str, Any],
    far: float = FAR,
    baselines: Iterable[Rival] = (),
) -> dict[str, Any]:
    """Computes metrics.

    Args:
        images: what to look at.
        metrics: keys of `dp_fedemb.evaluation.METRICS`.
        about: JSON values that say what was evaluated, put first.
        far: false accept rate that the verdict speaks of, see `comparison.headline`.
        baselines: what the model has to beat.

    Returns:
        JSON values, null where a figure cannot be resolved: what is in `about`,
        `num_images`, `num_identities`, `genuine_pairs`, `impostor_pairs`, `points` (one
        for each FAR, with the ends `low` and `high` of the interval of its recall, and a
        `warning` where it rests on few pairs), `headline_far`, `roc` ([FAR, recall,
        threshold] at `_PER_DECADE` rates in each power of ten), `metrics` (figures by
        name), `baselines` (each with points and the `difference` of the model's recall at
        `headline_far`), `beats_baselines` (null where nothing can be said) and `verdict`.

    Raises:
        ValueError: for an unknown metric, or one that these images do not allow.
    """
    from dp_fedemb import evaluation

    check_metrics(metrics)
    figures: dict[str, Any] = {}
    for name in metrics:
        figures.update(evaluation.METRICS[name](images))
    result = images.verification
    points = points_of(images)
    headline = comparison.headline(points, far)
    rivals = [_rival(images, other, headline, metrics) for other in baselines]
    beats, verdict = _verdict(points, headline, rivals)
    return json_files.finite(
        {
            **about,
            'num_images': len(images.embeddings),
            'num_identities': len(images.scores.identities),
            'lone_images': int((images.scores.counts == 1).sum()),
            'genuine_pairs': result.genuine_pairs,
            'impostor_pairs': result.impostor_pairs,
            'points': points,
            'headline_far': headline,
            'roc': _curve(result),
            'metrics': figures,
            'baselines': rivals,
            'beats_baselines': beats,
            'verdict': verdict,
        }
    )


def points_of(images: embedded_images.EmbeddedImages) -> list[dict[str, Any]]:
    """Returns the operating points, each with its interval and perhaps a warning."""
    points = []
    for point in images.verification.points:
        low = high = None
        if point.resolvable:
            low, high = intervals.recall_by_identity(images.scores, point).interval()
        points.append(
            {
                **dataclasses.asdict(point),
                'low': low,
                'high': high,
                'warning': point.warning(images.verification.impostor_pairs),
            }
        )
    return points


def at(points: Iterable[Mapping[str, Any]], far: Optional[float]) -> Mapping[str, Any]:
    """Returns the point of a target false accept rate; empty if there is none."""
    return next((point for point in points if point['target_far'] == far), {})


def check_metrics(metrics: Sequence[str]) -> None:
    """Raises ValueError for an unknown metric, or none."""
    from dp_fedemb import evaluation

    if not metrics:
        known = ', '.join(evaluation.METRICS)
        raise ValueError(f'metrics: none; expected some of {known}')
    for name in metrics:
        validate.one_of('metrics', name, evaluation.METRICS)


def _rival(
    images: embedded_images.EmbeddedImages,
    other: Rival,
    headline: Optional[float],
    metrics: Sequence[str],
) -> dict[str, Any]:
    points = points_of(other.images)
    figures = {'auc': other.images.verification.auc, 'eer': other.images.verification.eer}
    if 'retrieval' in metrics:
        figures.update(retrieval.metrics(other.images))
    return {
        'name': other.name,
        'description': other.description,
        'recall': at(points, headline).get('recall'),
        'difference': comparison.against(images, other.images, headline),
        'points': points,
        'metrics': figures,
    }


def _verdict(
    points: Sequence[Mapping[str, Any]],
    headline: Optional[float],
    rivals: Sequence[Mapping[str, Any]],
) -> tuple[Optional[bool], str]:
    if headline is None:
        return None, 'There are too few pairs to say what the model can do.'
    comparable = [rival for rival in rivals if rival['difference'] is not None]
    if not comparable:
        return None, 'The model was compared with no baseline.'
    return comparison.verdict(at(points, headline)['recall'], headline, comparable)


def _curve(result: verification.Verification) -> list[list[float]]:
    """A few exact points of the ROC curve, evenly over the logarithm of the FAR."""
    fars, recalls, thresholds = result.roc()
    if not len(fars):
        return []
    decades = math.ceil(math.log10(result.impostor_pairs)) + 1
    wanted = np.logspace(-decades, 0, decades * _PER_DECADE + 1)
    # For each rate, the last point that does not exceed it.
    places = np.unique(np.searchsorted(fars, wanted, 'right') - 1)
    return np.stack([fars, recalls, thresholds], axis=1)[places].tolist()

"""An evaluation as JSON values and as text."""

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any

import numpy as np

from dp_fedemb import tables
from dp_fedemb import validate
from dp_fedemb.evaluation import embedded_images
from dp_fedemb.evaluation import verification

_PER_DECADE = 10


def collect(
    images: embedded_images.EmbeddedImages, metrics: Sequence[str], about: dict[str, Any]
) -> dict[str, Any]:
    """Computes metrics.

    Args:
        images: what to look at.
        metrics: keys of `dp_fedemb.evaluation.METRICS`.
        about: JSON values that say what was evaluated, put first.

    Returns:
        JSON values, null where a figure cannot be resolved: what is in `about`,
        `num_images`, `num_identities`, `genuine_pairs`, `impostor_pairs`, `points` (one
        for each FAR), `roc` ([FAR, recall, threshold] at `_PER_DECADE` rates in each power
        of ten) and `metrics` (figures by name).

    Raises:
        ValueError: for an unknown metric, or one that these images do not allow.
    """
    from dp_fedemb import evaluation

    check_metrics(metrics)
    figures = {}
    for name in metrics:
        figures.update(evaluation.METRICS[name](images))
    result = images.verification
    return {
        **about,
        'num_images': len(images.embeddings),
        'num_identities': len(images.scores.identities),
        'lone_images': int((images.scores.counts == 1).sum()),
        'genuine_pairs': result.genuine_pairs,
        'impostor_pairs': result.impostor_pairs,
        'points': [_finite(dataclasses.asdict(point)) for point in result.points],
        'roc': _curve(result),
        'metrics': _finite(figures),
    }


def check_metrics(metrics: Sequence[str]) -> None:
    """Raises ValueError for an unknown metric, or none."""
    from dp_fedemb import evaluation

    if not metrics:
        known = ', '.join(evaluation.METRICS)
        raise ValueError(f'metrics: none; expected some of {known}')
    for name in metrics:
        validate.one_of('metrics', name, evaluation.METRICS)


def text(values: dict[str, Any]) -> str:
    """Returns what `collect` returned as a small table."""
    lines = [
        f'{values["num_images"]:,} images of {values["num_identities"]:,} identities'
        f' ({values["lone_images"]:,} with one image):'
        f' {values["genuine_pairs"]:,} genuine and {values["impostor_pairs"]:,} impostor'
        ' pairs',
        '',
    ]
    rows = [('FAR at most', 'recall', 'interval', 'threshold', 'accepted impostors')]
    unresolved = []
    shown = set()
    for point in values['points']:
        name = verification.recall_name(point['target_far'])
        shown |= {name, f'{name} low', f'{name} high'}
        if point['reason']:
            unresolved.append(
                f'  FAR {point["target_far"]:g} not resolvable: {point["reason"]}'
            )
            continue
        rows.append(
            (
                f'{point["target_far"]:g}',
                f'{point["recall"]:.4f}',
                interval_text(values, name),
                f'{point["threshold"]:.5f}',
                f'{point["accepted_impostors"]:,}',
            )
        )
    lines += [tables.text(rows, 'r', indent=2), *unresolved]
    others = {k: v for k, v in values['metrics'].items() if k not in shown}
    if others:
        others_rows = [(name, figure(value)) for name, value in others.items()]
        lines += ['', tables.text(others_rows, 'lr', indent=2)]
    return '\n'.join(lines)


def figure(value: Any) -> str:
    """Returns a figure with four digits, or a dash."""
    return '-' if value is None else f'{value:.4f}'


def interval_text(values: Mapping[str, Any], name: str) -> str:
    """Returns the confidence interval of a figure, or a dash."""
    low, high = (values['metrics'].get(f'{name} {end}') for end in ('low', 'high'))
    return '-' if low is None or high is None else f'{low:.4f} - {high:.4f}'


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


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }

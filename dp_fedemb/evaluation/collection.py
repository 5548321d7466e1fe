"""An evaluation as JSON values and as text."""

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any

from dp_fedemb import validate
from dp_fedemb.evaluation import embedded_images
from dp_fedemb.evaluation import verification


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
        for each FAR) and `metrics` (figures by name).

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
        f'  {"FAR at most":>11}  {"recall":>7}  {"interval":>16}  {"threshold":>9}'
        f'  {"accepted impostors":>18}',
    ]
    shown = set()
    for point in values['points']:
        name = verification.recall_name(point['target_far'])
        shown |= {name, f'{name} low', f'{name} high'}
        lines.append(f'  {point["target_far"]:>11g}  {_point_text(point, name, values)}')
    others = {k: v for k, v in values['metrics'].items() if k not in shown}
    if others:
        width = max(map(len, others))
        lines.append('')
        lines += [f'  {name:<{width}}  {figure(v)}' for name, v in others.items()]
    return '\n'.join(lines)


def figure(value: Any) -> str:
    """Returns a figure with four digits, or a dash."""
    return '-' if value is None else f'{value:.4f}'


def interval_text(values: Mapping[str, Any], name: str) -> str:
    """Returns the confidence interval of a figure, or a dash."""
    low, high = (values['metrics'].get(f'{name} {end}') for end in ('low', 'high'))
    return '-' if low is None or high is None else f'{low:.4f} - {high:.4f}'


def _point_text(point: Mapping[str, Any], name: str, values: Mapping[str, Any]) -> str:
    if point['reason']:
        return f'not resolvable: {point["reason"]}'
    return (
        f'{point["recall"]:>7.4f}  {interval_text(values, name):>16}'
        f'  {point["threshold"]:>9.5f}  {point["accepted_impostors"]:>18,}'
    )


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }

"""A model beside others on the same images: differences with paired intervals."""

from collections.abc import Iterable, Mapping
from typing import Any, Optional

from dp_fedemb.evaluation import embedded_images
from dp_fedemb.evaluation import intervals


def headline(points: Iterable[Mapping[str, Any]], wanted: float) -> Optional[float]:
    """Returns the false accept rate to speak of.

    Args:
        points: of `collection.collect`.
        wanted: the rate that is asked for.

    Returns:
        Of the rates that these pairs settle safely, the smallest that is not below
        `wanted`, or else the largest; without any, the largest that is resolvable; None
        if there is none.
    """
    resolved = [p for p in points if not p['reason']]
    safe = sorted(p['target_far'] for p in resolved if not p['warning'])
    at_least = [far for far in safe if far >= wanted]
    if at_least:
        return at_least[0]
    return max(safe or (p['target_far'] for p in resolved), default=None)


def against(
    model: embedded_images.EmbeddedImages,
    other: embedded_images.EmbeddedImages,
    far: Optional[float],
) -> Optional[dict[str, float]]:
    """Returns the model's recall minus another's at a target false accept rate.

    Each has its own threshold; identities are resampled for both together.

    Returns:
        'difference', and 'low' and 'high', the ends of its interval; None without a rate
        that both resolve.
    """
    if far is None:
        return None
    recalls = []
    for images in (model, other):
        point = images.point(far)
        if not point.resolvable:
            return None
        recalls.append(intervals.recall_by_identity(images.scores, point))
    low, high = intervals.difference_interval(recalls[0], recalls[1])
    difference = model.point(far).recall - other.point(far).recall
    return {'difference': difference, 'low': low, 'high': high}


def verdict(recall: float, far: float, others: Iterable[Mapping[str, Any]]) -> tuple[bool, str]:
    """Says in a sentence how a model does against baselines.

    Args:
        recall: of the model at the rate.
        far: the rate.
        others: each with 'name', 'recall' and 'difference' (of `against`).

    Returns:
        Whether the model is better than each, by more than chance; and the sentence.
    """
    at = f'recall at FAR {far:g} is'
    better: list[Mapping[str, Any]] = []
    unclear: list[Mapping[str, Any]] = []
    worse: list[Mapping[str, Any]] = []
    for other in others:
        difference = other['difference']
        kind = better if difference['low'] > 0 else worse if difference['high'] < 0 else unclear
        kind.append(other)
    if worse:
        return False, (
            f'The model LOSES to {_listed(worse)}: {at} {recall:.4f} against'
            f' {_recalls(worse)}. Do not ship it: a few lines of linear algebra, without'
            ' training, do better on these images.'
        )
    if unclear:
        return False, (
            f'The model is not clearly better than {_listed(unclear)}: {at} {recall:.4f}'
            f' against {_recalls(unclear)}, a difference within what chance explains.'
        )
    return (
        True,
        f'The model beats {_listed(better)}: {at} {recall:.4f} against {_recalls(better)}.',
    )


def _listed(others: Iterable[Mapping[str, Any]]) -> str:
    return ' and '.join(other['name'] for other in others)


def _recalls(others: Iterable[Mapping[str, Any]]) -> str:
    return ' and '.join(f'{other["recall"]:.4f}' for other in others)

"""Recall beside baselines, ROC curve, and how similar pairs are."""

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from matplotlib import figure
import numpy as np

from dp_fedemb.evaluation import collection
from dp_fedemb.evaluation import verification
from dp_fedemb.evaluation.figures import drawing


def overview(values: Mapping[str, Any]) -> Optional[figure.Figure]:
    """Draws the model's recall at the headline's rate above that of the baselines.

    Args:
        values: of `collection.collect`.
    """
    every = [values, *values['baselines']]
    names = ['this model', *(other['name'] for other in values['baselines'])]
    return _recalls(values['headline_far'], names, every, num_models=1)


def side_by_side(values: Mapping[str, Any]) -> Optional[figure.Figure]:
    """Draws the recall of several models, full, and of baselines, hollow.

    Args:
        values: of `side_by_side.compare`.
    """
    every = [*values['models'], *values['baselines']]
    names = [drawing.shortened(one['name']) for one in every]
    return _recalls(values['headline_far'], names, every, len(values['models']))


def _recalls(
    far: Optional[float],
    names: Sequence[str],
    every: Sequence[Mapping[str, Any]],
    num_models: int,
) -> Optional[figure.Figure]:
    """Draws a row for each of `every`, the models first, with the points of its curve."""
    if far is None:
        return None
    rows = [collection.at(one['points'], far) for one in every]
    picture, axes = drawing.axes(0.75 + 0.55 * len(rows))
    drawing.intervals(axes, names, rows, range(num_models))
    axes.set(xlim=(0, 1.02))
    return picture


def roc(
    result: verification.Verification,
    others: Sequence[tuple[str, verification.Verification]] = (),
    name: str = 'this model',
) -> figure.Figure:
    """Draws recall against FAR, on a logarithmic axis down to one impostor pair.

    Args:
        result: whose operating points are marked.
        others: curves to draw beside it, with their names.
        name: of the first curve, where there are others.
    """
    picture, axes = drawing.axes()
    if not len(result.roc()[0]):
        return drawing.nothing(axes, 'no genuine or no impostor pair')
    lowest = 1 / result.impostor_pairs
    curves = [(name, result), *others]
    for place, (title, one) in enumerate(curves):
        far, recall, _ = one.roc()
        axes.step(
            np.maximum(far, lowest),
            recall,
            where='post',
            color=drawing.CURVES[place % len(drawing.CURVES)],
            ls=drawing.DASHES[place % len(drawing.DASHES)],
            lw=1.9 if place == 0 else 1.4,
            label=title,
        )
    axes.set(
        xscale='log',
        xlim=(lowest, 1),
        ylim=(0, 1.02),
        xlabel='false accept rate (FAR)',
        ylabel='recall',
    )
    if others:
        # Above the axes: a good model's curve fills their upper edge.
        axes.legend(frameon=False, fontsize=8, loc='lower left', bbox_to_anchor=(0, 1), ncols=2)
    resolved = [point for point in result.points if point.resolvable]
    places = [(max(point.far, lowest), point.recall) for point in resolved]
    for far_there, recall_there in places:
        axes.plot(
            far_there,
            recall_there,
            'o',
            color=drawing.DARK,
            mfc='white',
            mew=1.6,
            ms=5.5,
            zorder=3,
        )
    # Baselines, where there are any, lie above a model that loses and below one that wins.
    offsets = ((-5, 6), (5, -13), (-5, 18), (5, -25))
    lost = any(other.auc > result.auc for _, other in others)
    words = [f'{point.recall:.3f}' for point in resolved]
    drawing.label(axes, words, places, sorted(offsets, key=lambda o: (o[0] < 0) == lost))
    return picture


def similarities(result: verification.Verification, bars: int = 50) -> figure.Figure:
    """Draws how similar genuine and impostor pairs are, and the thresholds."""
    picture, axes = drawing.axes()
    pairs = result.genuine_pairs + result.impostor_pairs
    if not pairs:
        return drawing.nothing(axes, 'no pair')
    # Nearly all pairs, so that a few far away do not squeeze the rest.
    every = np.cumsum(result.genuine + result.impostor) / pairs
    used = np.nonzero((every > 1e-5) & (np.append(0, every[:-1]) < 1))[0]
    edges = np.linspace(result.edges[used[0]], result.edges[used[-1] + 1], bars + 1)
    middles = (result.edges[:-1] + result.edges[1:]) / 2
    tallest = 0.0
    for counts, color, style, name in (
        (result.impostor, drawing.LIGHT, '--', 'of two identities'),
        (result.genuine, drawing.DARK, '-', 'of one identity'),
    ):
        if not counts.sum():
            continue
        heights, _ = np.histogram(middles, edges, weights=counts)
        heights = heights / counts.sum() / np.diff(edges)
        tallest = max(tallest, heights.max())
        hatch = '////' if style == '--' else None
        axes.stairs(heights, edges, fill=True, color=color, alpha=0.25, hatch=hatch, lw=0)
        axes.stairs(heights, edges, color=color, lw=1.6, ls=style, label=name)
    top = 1.45 * tallest
    axes.set(xlabel='similarity of a pair (cosine)', ylabel='density', ylim=(0, top))
    axes.legend(frameon=False, fontsize=8.5, loc='upper left')
    resolved = sorted((p for p in result.points if p.resolvable), key=lambda p: p.threshold)
    for point in resolved:
        axes.plot([point.threshold] * 2, [0, 1.1 * tallest], color=drawing.INK, lw=1, ls=':')
    drawing.label(
        axes,
        [f'{point.target_far:g}' for point in resolved],
        [(point.threshold, 1.1 * tallest) for point in resolved],
        ((2, 2), (2, 12), (2, 22), (-2, 2), (-2, 12)),
        7.5,
    )
    return picture

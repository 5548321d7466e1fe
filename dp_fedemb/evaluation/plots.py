"""Pictures of an evaluation and of a run; each function returns a Matplotlib figure.

Figures are made without pyplot: nothing is global, nothing opens a window.
"""

from collections.abc import Mapping
import csv
import math
import os
from typing import Any, Optional, Union

from matplotlib import axes as axes_lib
from matplotlib import figure
from matplotlib import ticker
import numpy as np

from dp_fedemb.evaluation import retrieval
from dp_fedemb.evaluation import verification

GENUINE, IMPOSTOR, INK, FAINT = '#1b7f5c', '#c2452d', '#26323a', '#8a959c'
CURVES = ('#1f5f99', '#d08700', '#1b7f5c', '#8a4f9e')
_DPI = 130


def roc(result: verification.Verification) -> figure.Figure:
    """Draws recall against FAR, on a logarithmic axis down to one impostor pair."""
    picture, axes = _axes(6.4, 4.4)
    far, recall, _ = result.roc()
    if not len(far):
        return _nothing(axes, 'no genuine or no impostor pair')
    lowest = 1 / result.impostor_pairs
    axes.step(np.maximum(far, lowest), recall, where='post', color=CURVES[0], lw=1.8)
    chance = np.geomspace(lowest, 1, 200)
    axes.plot(chance, chance, color=FAINT, lw=1, ls=(0, (4, 3)))
    axes.annotate(
        'chance', (0.1, 0.1), (6, -4), textcoords='offset points', color=FAINT, fontsize=8
    )
    for point in filter(lambda p: p.resolvable, result.points):
        place = max(point.far, lowest), point.recall
        axes.plot(*place, 'o', color=IMPOSTOR, ms=5.5, zorder=3)
        axes.annotate(
            f'{point.recall:.3f} at {point.target_far:g}',
            place,
            (-7, 5),
            textcoords='offset points',
            ha='right',
            color=INK,
            fontsize=9,
        )
    axes.set(
        xscale='log',
        xlim=(lowest, 1),
        ylim=(0, 1.02),
        xlabel='false accept rate (FAR)',
        ylabel='recall of genuine pairs',
    )
    title = f'AUC {result.auc:.4f}   EER {result.eer:.4f}'
    axes.set_title(title, loc='left', fontsize=10)
    return picture


def similarities(result: verification.Verification, bars: int = 120) -> figure.Figure:
    """Draws how similar genuine and impostor pairs are, and the thresholds."""
    picture, axes = _axes(6.4, 4.0)
    if not result.genuine_pairs + result.impostor_pairs:
        return _nothing(axes, 'no pair')
    # Nearly all pairs, so that a few far away do not squeeze the rest.
    every = np.cumsum(result.genuine + result.impostor) / (
        result.genuine_pairs + result.impostor_pairs
    )
    used = np.nonzero((every > 1e-5) & (np.append(0, every[:-1]) < 1))[0]
    edges = np.linspace(result.edges[used[0]], result.edges[used[-1] + 1], bars + 1)
    middles = (result.edges[:-1] + result.edges[1:]) / 2
    tallest = 0.0
    for counts, color, label in (
        (result.impostor, IMPOSTOR, 'impostor'),
        (result.genuine, GENUINE, 'genuine'),
    ):
        if not counts.sum():
            continue
        heights, _ = np.histogram(middles, edges, weights=counts)
        heights = heights / counts.sum() / np.diff(edges)
        tallest = max(tallest, heights.max())
        label = f'{label}: {counts.sum():,} pairs'
        axes.stairs(heights, edges, fill=True, color=color, alpha=0.28)
        axes.stairs(heights, edges, color=color, lw=1.4, label=label)
    resolved = sorted((p for p in result.points if p.resolvable), key=lambda p: -p.threshold)
    for height, point in enumerate(resolved):
        axes.axvline(point.threshold, color=INK, lw=1, ls=(0, (4, 3)))
        axes.annotate(
            f'FAR {point.target_far:g}',
            (point.threshold, tallest * (1.13 - 0.08 * height)),
            # The strictest line has its right side free, the others their left.
            (-4 if height else 4, 0),
            textcoords='offset points',
            ha='right' if height else 'left',
            fontsize=8,
            color=INK,
        )
    axes.set(xlabel='similarity (cosine)', ylabel='density', ylim=(0, 1.2 * tallest))
    axes.legend(frameon=False, fontsize=9, loc='upper left')
    return picture


def neighbours(
    images: np.ndarray,
    embeddings: np.ndarray,
    identities: np.ndarray,
    num_queries: int = 8,
    k: int = 8,
    seed: int = 0,
) -> figure.Figure:
    """Draws a few images and their nearest neighbours, framed by right and wrong.

    Args:
        images: uint8 [n, H, W, C].
        embeddings: float32 [n, D].
        identities: [n].
        num_queries: rows of the picture, drawn at random among the images that have
            something to find.
        k: neighbours of each.
        seed: of the draw.
    """
    _, labels, counts = np.unique(identities, return_inverse=True, return_counts=True)
    candidates = np.nonzero(counts[labels] > 1)[0]
    picture = figure.Figure(dpi=_DPI)
    if not len(candidates):
        return _nothing(picture.subplots(), 'no image has anything to find')
    size = min(num_queries, len(candidates))
    queries = np.sort(np.random.default_rng(seed).choice(candidates, size, replace=False))
    found, scores = retrieval.nearest(embeddings, queries, k)
    picture.set_size_inches(0.86 * (found.shape[1] + 1.4), 1.0 * size + 0.2)
    grid = picture.subplots(
        size,
        found.shape[1] + 1,
        squeeze=False,
        gridspec_kw={
            'wspace': 0.1,
            'hspace': 0.28,
            'left': 0.01,
            'right': 0.99,
            'bottom': 0.03,
            'top': 1 - 0.2 / (size + 0.2),
            'width_ratios': [1.25, *[1] * found.shape[1]],
        },
    )
    for row, query in enumerate(queries):
        _thumbnail(grid[row, 0], images[query], FAINT, 'query' if row == 0 else '')
        for column, other in enumerate(found[row]):
            right = labels[other] == labels[query]
            _thumbnail(
                grid[row, column + 1],
                images[other],
                GENUINE if right else IMPOSTOR,
                f'{scores[row, column]:.2f}',
            )
    return picture


def training_curves(metrics_csv: Union[str, os.PathLike]) -> Optional[figure.Figure]:
    """Draws recall by round and, for a private run, by epsilon.

    Args:
        metrics_csv: of a run directory.

    Returns:
        The figure, or None if the file has no recall of any round.
    """
    with open(metrics_csv, newline='') as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else ()) if verification.is_recall(name)]
    columns = {
        name: np.array([_number(row.get(name)) for row in rows])
        for name in ('round', 'epsilon_user', *names)
    }
    drawn = {name: columns[name] for name in names if np.isfinite(columns[name]).any()}
    if not drawn:
        return None
    axes_of = {'round': 'round'}
    if np.isfinite(columns['epsilon_user']).any():
        axes_of['epsilon_user'] = 'epsilon spent (user level)'
    size = (4.6 * len(axes_of), 3.6)
    picture = figure.Figure(figsize=size, dpi=_DPI, layout='constrained')
    for axes, (across, label) in zip(
        picture.subplots(1, len(axes_of), squeeze=False)[0], axes_of.items()
    ):
        _clean(axes)
        for color, (name, values) in zip(CURVES, drawn.items()):
            known = np.isfinite(values) & np.isfinite(columns[across])
            axes.plot(
                columns[across][known],
                values[known],
                'o-',
                color=color,
                ms=3,
                lw=1.6,
                label=name,
            )
        axes.set(xlabel=label, ylabel='recall', ylim=(0, None))
        axes.margins(y=0.12)
        axes.legend(frameon=False, fontsize=8, loc='lower right')
    return picture


def save(figures: Mapping[str, figure.Figure], directory: str) -> list[str]:
    """Writes each figure as NAME.png and returns the file names."""
    names = []
    for name, picture in figures.items():
        picture.savefig(os.path.join(directory, f'{name}.png'))
        names.append(f'{name}.png')
    return names


def _axes(width: float, height: float) -> tuple[figure.Figure, axes_lib.Axes]:
    picture = figure.Figure(figsize=(width, height), dpi=_DPI, layout='constrained')
    axes = picture.subplots()
    _clean(axes)
    return picture, axes


def _clean(axes: axes_lib.Axes) -> None:
    axes.spines[['top', 'right']].set_visible(False)
    axes.spines[['left', 'bottom']].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color='#e6eaec', lw=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6))


def _nothing(axes: axes_lib.Axes, words: str) -> Any:
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha='center', va='center', color=FAINT)
    return axes.figure


def _thumbnail(axes: axes_lib.Axes, image: np.ndarray, color: str, title: str) -> None:
    shown = image[..., 0] if image.shape[-1] == 1 else image
    axes.imshow(shown, cmap='gray', vmin=0, vmax=255, interpolation='nearest')
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=7, color=INK, pad=2)
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=2.2)


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan

"""Pictures of tables and searches; each function returns a Matplotlib figure."""

from collections.abc import Mapping, Sequence
import math
from typing import Any, Optional

import matplotlib
from matplotlib import colors as colors_lib
from matplotlib import figure
from matplotlib import ticker
import numpy as np

from dp_fedemb.evaluation.figures import drawing

_DPI = 110
# A baseline that is level is no curve: never solid.
_LEVELS = drawing.DASHES[1:]
# Of an axis that names every value.
_MOST_TICKS = 10


def lines(
    rows: Sequence[Mapping[str, Any]],
    x: str,
    y: str,
    by: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> Optional[figure.Figure]:
    """Draws `y` over `x`, a line for each value of `by`; None without a point.

    Where x is no number its values stand side by side in their order, and no line joins
    them. Rows without x are drawn as level lines: baselines that have no such setting.
    Deviations are in the column of y's name with ' sd' after it.
    """
    drawn = [row for row in rows if row.get(y) is not None]
    if not drawn:
        return None
    picture = figure.Figure(figsize=(7.2, 4.4), dpi=_DPI, layout='constrained')
    axes = picture.subplots()
    drawing.clean(axes)
    values = [row[x] for row in drawn if row.get(x) is not None]
    numeric = all(isinstance(value, (int, float)) for value in values)
    places = {value: index for index, value in enumerate(dict.fromkeys(values))}
    levels = 0
    for number, label in enumerate(dict.fromkeys(str(row.get(by, '')) for row in drawn)):
        color = drawing.CURVES[number % len(drawing.CURVES)]
        # A line is told by its mark too: in grey, and by those who do not see its colour.
        mark = drawing.MARKERS[number % len(drawing.MARKERS)]
        mine = [row for row in drawn if str(row.get(by, '')) == label]
        level = [row for row in mine if row.get(x) is None]
        for row in level:
            dashes = _LEVELS[levels % len(_LEVELS)]
            axes.axhline(row[y], color=color, lw=1.4, ls=dashes, label=label)
            levels += 1
        mine = [row for row in mine if row.get(x) is not None]
        if not mine:
            continue
        across = [row[x] if numeric else places[row[x]] for row in mine]
        order = np.argsort(across, kind='stable')
        axes.errorbar(
            np.asarray(across)[order],
            np.asarray([row[y] for row in mine])[order],
            np.asarray([row.get(f'{y} sd') or 0.0 for row in mine])[order],
            color=color,
            marker=mark,
            ms=5,
            lw=1.6,
            # Values without an order have nothing between them.
            ls='-' if numeric else 'none',
            elinewidth=1.6,
            capsize=2.5,
            label=label,
        )
    if log_x and numeric and values:
        axes.set_xscale('log')
        if len(places) <= _MOST_TICKS:
            axes.set_xticks(sorted(places), [f'{value:g}' for value in sorted(places)])
            axes.xaxis.set_minor_locator(ticker.NullLocator())
    if not numeric:
        axes.set_xticks(range(len(places)), [str(value) for value in places], fontsize=8)
        if max(len(str(value)) for value in places) > 10:
            axes.tick_params(axis='x', rotation=20)
    axes.set(xlabel=x, ylabel=y)
    if log_y:
        axes.set_yscale('log')
    else:
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
        axes.yaxis.set_major_locator(ticker.MaxNLocator(6))
    axes.legend(frameon=False, fontsize=8)
    return picture


def parallel_coordinates(
    rows: Sequence[Mapping[str, Any]], settings: Sequence[str], score: str
) -> figure.Figure:
    """Draws a line a trial over an axis a setting and one of the score, best ones on top.

    Args:
        rows: trials; those without a score are faint.
        settings: columns, an axis each.
        score: column of the last axis; higher is better.
    """
    names = [*settings, score]
    picture = figure.Figure(
        figsize=(1.6 + 1.5 * len(names), 4.4), dpi=_DPI, layout='constrained'
    )
    axes = picture.subplots()
    axes.set_axis_off()
    heights = {name: _heights([row.get(name) for row in rows]) for name in names}
    known = [row[score] for row in rows if row.get(score) is not None]
    norm = colors_lib.Normalize(min(known, default=0.0), max(known, default=1.0))
    palette = matplotlib.colormaps['viridis']
    order = sorted(
        range(len(rows)), key=lambda i: (rows[i].get(score) is not None, rows[i].get(score))
    )
    for i in order:
        value = rows[i].get(score)
        path = [heights[name][0][i] for name in names]
        ends = [(place, height) for place, height in enumerate(path) if height is not None]
        axes.plot(
            *zip(*ends),
            color=drawing.FAINT if value is None else palette(norm(value)),
            alpha=0.4 if value is None else 0.9,
            lw=1.6,
        )
    for place, name in enumerate(names):
        axes.plot([place, place], [0, 1], color=drawing.INK, lw=1)
        axes.text(place, 1.06, name, ha='center', fontsize=9, color=drawing.INK)
        for height, label in heights[name][1]:
            axes.text(place + 0.03, height, label, va='center', fontsize=8, color=drawing.INK)
    axes.set(xlim=(-0.2, len(names) - 0.6), ylim=(-0.05, 1.12))
    return picture


def _heights(
    values: Sequence[Any],
) -> 'tuple[list[Optional[float]], list[tuple[float, str]]]':
    """Heights in [0, 1] of values on their axis, and the axis' labels."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in known):
        low, high = min(known), max(known)
        # Settings that were tried over orders of magnitude.
        log = low > 0 and high / low > 20

        def scale(value: float) -> float:
            return math.log(value) if log else float(value)

        span = (scale(high) - scale(low)) or 1.0
        heights = [None if v is None else float((scale(v) - scale(low)) / span) for v in values]
        shown = sorted(set(known))
        if len(shown) > 6:
            shown = [low, high]
        return heights, [(float((scale(v) - scale(low)) / span), f'{v:.4g}') for v in shown]
    words = list(dict.fromkeys(map(str, known)))
    span = max(len(words) - 1, 1)
    heights = [None if v is None else words.index(str(v)) / span for v in values]
    return heights, [(index / span, word) for index, word in enumerate(words)]

"""What all figures share: colours, axes, and words that do not run into each other."""

from collections.abc import Mapping, Sequence
import io
import pathlib
from typing import Any, Optional

import matplotlib
from matplotlib import axes as axes_lib
from matplotlib import figure
from matplotlib import ticker
from matplotlib.backends import backend_agg
import numpy as np

from dp_fedemb import files

# Of different lightness, so that they differ in greyscale and for the colour-blind.
INK, FAINT, GRID = '#1f2a30', '#66727a', '#e3e8eb'
DARK, LIGHT = '#1d4f7c', '#e08a1e'
CURVES = ('#1d4f7c', '#e08a1e', '#3f9a6b', '#8d5a9e', '#7a7a7a', '#b23a48', '#00868b')
DASHES = ('-', '--', '-.', ':', (0, (10, 4)), (0, (4, 1.5, 1, 1.5, 1, 1.5)))
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '<', '>', '*')
# Inches and pixels an inch: shown at half its pixels, a figure is 440 CSS pixels wide.
WIDTH, DPI = 4.4, 200


def axes(height: float = 3.3, width: float = WIDTH) -> tuple[figure.Figure, axes_lib.Axes]:
    """Returns a figure with one pair of axes, sizes in inches."""
    picture = figure.Figure(figsize=(width, height), dpi=DPI, layout='constrained')
    backend_agg.FigureCanvasAgg(picture)
    drawn = picture.subplots()
    clean(drawn)
    return picture, drawn


def clean(drawn: axes_lib.Axes) -> None:
    """Leaves of the axes what is needed."""
    drawn.spines[['top', 'right']].set_visible(False)
    drawn.spines[['left', 'bottom']].set_color(FAINT)
    drawn.tick_params(colors=INK, labelsize=8.5, length=3)
    drawn.xaxis.label.set(color=INK, size=9)
    drawn.yaxis.label.set(color=INK, size=9)
    drawn.grid(color=GRID, lw=0.8)
    drawn.set_axisbelow(True)
    drawn.xaxis.set_major_locator(ticker.MaxNLocator(6))


def nothing(drawn: axes_lib.Axes, words: str) -> figure.Figure:
    """Says why there is nothing to draw."""
    drawn.set_axis_off()
    drawn.text(0.5, 0.5, words, ha='center', va='center', color=FAINT, fontsize=9)
    return drawn.figure  # type: ignore[return-value]


def label(
    drawn: axes_lib.Axes,
    words: Sequence[str],
    places: Sequence[tuple[float, float]],
    offsets: Sequence[tuple[float, float]] = ((-5, 6), (5, -13), (-5, 18), (5, -25)),
    size: float = 8,
) -> list[Any]:
    """Writes words at places, each where it is free, or not at all.

    Args:
        drawn: the axes; their limits must be final.
        words: what to write.
        places: of the words, in data coordinates; the first ones come first.
        offsets: in points, tried in this order; left of a place for a negative one.
        size: of the letters.

    Returns:
        The words that found room.
    """
    picture: Any = drawn.figure
    renderer = picture.canvas.get_renderer()
    picture.draw_without_rendering()
    frame = drawn.get_window_extent(renderer)
    # Words that stand already: of the legend, and of other labels.
    taken = [text.get_window_extent(renderer) for text in drawn.texts if text.get_text()]
    legend = drawn.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent(renderer))
    kept = []
    for text, place in zip(words, places):
        for offset in offsets:
            written = drawn.annotate(
                text,
                place,
                offset,
                textcoords='offset points',
                ha='right' if offset[0] < 0 else 'left',
                fontsize=size,
                color=INK,
            )
            box = written.get_window_extent(renderer).padded(2)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0
            if inside and box.y1 <= frame.y1 + 8 and not any(map(box.overlaps, taken)):
                taken.append(box)
                kept.append(written)
                break
            written.remove()
    return kept


def intervals(
    drawn: axes_lib.Axes,
    names: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    full: Optional[range] = None,
) -> None:
    """Draws recalls one below the other, each with its interval and its figure.

    Args:
        drawn: the axes.
        names: of the rows.
        rows: each with 'recall', 'low' and 'high', None where nothing can be said.
        full: the rows that are drawn full, the others hollow; None for all.
    """
    heights = np.arange(len(names))[::-1]
    for place, (height, row) in enumerate(zip(heights, rows)):
        if row['recall'] is None:
            drawn.text(0.02, height, 'no pair', va='center', fontsize=8, color=FAINT)
            continue
        is_full = full is None or place in full
        color = DARK if is_full else FAINT
        ends = [row['low'], row['high']]
        drawn.plot(ends, [height] * 2, color=color, lw=2, solid_capstyle='butt')
        for end in ends:
            drawn.plot([end] * 2, [height - 0.13, height + 0.13], color=color, lw=1.4)
        inside = color if is_full else 'white'
        drawn.plot(row['recall'], height, 'o', color=color, mfc=inside, ms=7, mew=1.6)
        words = f'{row["recall"]:.3f}'
        drawn.text(row['recall'], height + 0.2, words, ha='center', fontsize=8.5, color=INK)
    drawn.set_yticks(heights, list(names))
    drawn.set(ylim=(-0.6, len(names) - 0.2), xlabel='recall, with its 95% interval')
    drawn.grid(axis='y', visible=False)
    drawn.tick_params(axis='y', length=0)
    drawn.spines['left'].set_visible(False)


def shortened(name: str, most: int = 22) -> str:
    """Returns a name of at most `most` letters."""
    return name if len(name) <= most else f'{name[: most - 1]}…'


def png(picture: figure.Figure) -> bytes:
    """Returns a figure as PNG."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({'hatch.linewidth': 0.5, 'hatch.color': LIGHT}):
        picture.savefig(buffer, format='png')
    return buffer.getvalue()


def save(
    figures: Mapping[str, figure.Figure], directory: pathlib.Path, mode: int = 0o644
) -> None:
    """Writes each figure as NAME.png, in one step; 0o600 for those that name people."""
    for name, picture in figures.items():
        files.write_bytes(directory / f'{name}.png', png(picture), mode)

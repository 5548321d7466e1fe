"""Recall by round, and by the epsilon spent until then."""

import csv
import io
import math
import os
import pathlib
from typing import Any, Optional, Union

from matplotlib import figure
import numpy as np

from dp_fedemb import json_files
from dp_fedemb.evaluation import verification
from dp_fedemb.evaluation.figures import drawing


def training_curves(metrics_csv: Union[str, os.PathLike]) -> dict[str, figure.Figure]:
    """Draws recall by round and, for a private run, by epsilon.

    Args:
        metrics_csv: of a run directory.

    Returns:
        Figures by name: 'recall_by_round' and 'recall_by_epsilon', as far as the file has
        them.
    """
    with json_files.whole(metrics_csv, 'restore it, or move it away'):
        text = pathlib.Path(metrics_csv).read_text('utf-8')
        try:
            rows = list(csv.DictReader(io.StringIO(text, newline='')))
        except csv.Error as error:
            raise ValueError(str(error)) from None
    names = [name for name in (rows[0] if rows else ()) if verification.is_recall(name)]
    columns = {
        name: np.array([_number(row.get(name)) for row in rows])
        for name in ('round', 'epsilon_user', *names)
    }
    drawn = {name: columns[name] for name in names if np.isfinite(columns[name]).any()}
    figures = {}
    for name, across, words in (
        ('recall_by_round', 'round', 'round'),
        ('recall_by_epsilon', 'epsilon_user', 'epsilon spent until then'),
    ):
        picture = _draw(columns[across], drawn, words)
        if picture is not None:
            figures[name] = picture
    return figures


def _draw(
    across: np.ndarray, drawn: dict[str, np.ndarray], words: str
) -> Optional[figure.Figure]:
    if not drawn or not np.isfinite(across).any():
        return None
    picture, axes = drawing.axes(3.0)
    for place, (name, values) in enumerate(drawn.items()):
        known = np.isfinite(values) & np.isfinite(across)
        axes.plot(
            across[known],
            values[known],
            marker=drawing.MARKERS[place % len(drawing.MARKERS)],
            ls=drawing.DASHES[place % len(drawing.DASHES)],
            color=drawing.CURVES[place % len(drawing.CURVES)],
            ms=4,
            lw=1.6,
            label=name,
        )
    axes.set(xlabel=words, ylabel='recall', ylim=(0, None))
    axes.margins(y=0.12)
    # Above the axes it covers no curve.
    axes.legend(frameon=False, fontsize=8, loc='lower left', bbox_to_anchor=(0, 1), ncols=2)
    return picture


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan

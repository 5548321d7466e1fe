"""Recall by round, and by the epsilon spent until then."""

import csv
import io
import math
import os
from typing import Union

from matplotlib import figure
import numpy as np

from dp_fedemb import files
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

    Raises:
        ValueError: for lines that a run does not write; a last one without its end, which
            a crash has torn, is left out.
    """
    names, columns = _read(metrics_csv)
    drawn = {name: columns[name] for name in names if np.isfinite(columns[name]).any()}
    figures = {}
    for name, along, words in (
        ('recall_by_round', 'round', 'round'),
        ('recall_by_epsilon', 'epsilon_user', 'epsilon spent until then'),
    ):
        if along in columns and np.isfinite(columns[along]).any() and drawn:
            figures[name] = _draw(columns[along], drawn, words)
    return figures


def _draw(across: np.ndarray, drawn: dict[str, np.ndarray], words: str) -> figure.Figure:
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


def _read(path: Union[str, os.PathLike]) -> tuple[list[str], dict[str, np.ndarray]]:
    """Returns the names of recalls, and values by round of these and of what they go by."""
    with json_files.whole(path, 'restore it, or move it away'):
        text = files.read_bytes(path).decode('utf-8')
        text = text[: text.rfind('\n') + 1]
        try:
            rows = list(csv.reader(io.StringIO(text, newline='')))
        except csv.Error as error:
            raise ValueError(str(error)) from None
        header = rows.pop(0) if rows else []
        for number, row in enumerate(rows, start=2):
            if len(row) != len(header):
                raise ValueError(f'row {number}: {len(row)} fields of {len(header)}')
        names = [name for name in header if verification.is_recall(name)]
        columns = {
            name: np.array([float(row[header.index(name)] or math.nan) for row in rows])
            for name in ('round', 'epsilon_user', *names)
            if name in header
        }
    return names, columns

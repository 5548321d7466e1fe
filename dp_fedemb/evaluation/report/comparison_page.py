"""The report about several models."""

from collections.abc import Iterable, Mapping
import html
from typing import Any

from matplotlib import figure

from dp_fedemb.evaluation import result_table
from dp_fedemb.evaluation.report import page
from dp_fedemb.evaluation.report import style

_OVERVIEW = (
    'Recall of each model (full) and of embeddings that nobody trained (hollow), on the same'
    ' images. Lines are 95% intervals; further right is better.'
)
_ROC = 'Recall against the false accept rate. Circles are the operating points of the first.'


def build(
    values: Mapping[str, Any],
    tables: Iterable[result_table.Table],
    figures: Mapping[str, figure.Figure],
) -> str:
    """Returns the report as HTML without references to other files.

    Args:
        values: of `side_by_side.compare`.
        tables: of `side_by_side.tables`.
        figures: by name: 'overview', 'roc'.
    """
    shown = {table.name: table.html() for table in tables if table.shown and table.rows}
    pictures = [
        page.picture(name, figures[name], caption)
        for name, caption in (('overview', _OVERVIEW), ('roc', _ROC))
        if name in figures
    ]
    drawn = f'<div class="figures">{"".join(pictures)}</div>'
    said = f'<p class="verdict"><b>{html.escape(values["verdict"])}</b></p>'
    sections = [
        ('summary', 'In short', said + shown.pop('models', '') + drawn),
        ('differences', 'Differences', shown.pop('differences', '')),
        ('recalls', 'Every rate', ''.join(shown.values())),
    ]
    return style.page(values['title'], values['about'], sections)

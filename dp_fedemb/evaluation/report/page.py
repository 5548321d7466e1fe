"""The report about one model.

First screen: what it can do, for whom, at what epsilon, in three sentences and a picture.
All else is below, and the privacy statement in full is folded away.
"""

import base64
from collections.abc import Iterable, Mapping
import html
from typing import Any, Optional

from matplotlib import figure

from dp_fedemb.evaluation import result_table
from dp_fedemb.evaluation.figures import drawing
from dp_fedemb.evaluation.report import style
from dp_fedemb.evaluation.report import words

_CAPTIONS = {
    'overview': 'Recall of this model and of embeddings that nobody trained, on the same'
    ' images. Lines are 95% intervals; further right is better.',
    'roc': 'Recall against the false accept rate, over all pairs. Circles are the operating'
    ' points of the table, with their recall.',
    'similarities': 'How similar pairs of images are: of one identity (solid) and of two'
    ' (dashed, hatched). Dotted lines are the thresholds, named by their false accept rate.',
    'embedding_map': 'Map of embeddings: images that lie together are similar. Each kind of'
    ' mark is one identity, dots are images of others; large distances mean nothing (t-SNE).',
    'recall_by_round': 'Recall on unseen identities while it was trained.',
    'recall_by_epsilon': 'The same against the privacy spent until then.',
    'by_number_of_images': 'Recall for users of few and of many images. Differential privacy'
    ' costs those of few the most.',
    'by_group': 'Recall by group, the best first.',
}
_CONVENTIONS = (
    'All unordered pairs of distinct images are compared. A pair is genuine if both images'
    ' show one identity, and accepted if its similarity is at least the threshold. Recall is'
    ' the accepted part of the genuine pairs, the false accept rate (FAR) that of the others;'
    ' the threshold is the smallest one whose rate does not exceed the stated one. Intervals'
    ' come from drawing identities anew, a thousand times. Retrieval takes each image as a'
    ' query against all others; images that are alone in their identity are no queries.'
)
_BREAKDOWN = ('spread', 'users_by_images', 'groups')


def build(
    values: Mapping[str, Any],
    tables: Iterable[result_table.Table],
    figures: Mapping[str, figure.Figure],
    privacy: Optional[Mapping[str, Any]] = None,
    privacy_text: str = '',
    neighbours: str = '',
    audit: str = '',
) -> str:
    """Returns the report as HTML without references to other files.

    Args:
        values: of `evaluated.evaluate`; `title` and `about` (a few lines) say what it is.
        tables: all of them; those that are not `shown` are left out.
        figures: by name, see `dp_fedemb.evaluation.figures`.
        privacy: the run's privacy statement (privacy.json), or None.
        privacy_text: the same as text.
        neighbours: of `neighbours.build`, or nothing.
        audit: what attacks on the run showed (audit.json), as HTML, or nothing.
    """
    shown = [table for table in tables if table.shown and table.rows]
    breakdown = ''.join(table.html() for table in shown if table.name in _BREAKDOWN)
    others = ''.join(table.html() for table in shown if table.name not in _BREAKDOWN)
    conventions = f'<p>{html.escape(_CONVENTIONS)}</p>'
    if neighbours:
        neighbours = (
            '<p>Each row begins with an image (double frame) drawn at random. Then come its'
            ' nearest neighbours among all others, the most similar first: ✓ and a full frame'
            ' for the same identity, ✗ and a broken frame for another. Numbers are similarities'
            f' (cosine).</p>{neighbours}'
        )
    sections = [
        ('summary', 'In short', _first_screen(values, figures, privacy)),
        ('privacy', 'Privacy', _privacy(privacy, privacy_text)),
        ('audit', 'What attacks showed', audit),
        (
            'verification',
            'How well it recognises',
            grid(figures, ('roc', 'similarities'))
            + others
            + folded('How these figures are defined', conventions),
        ),
        (
            'breakdown',
            'For whom it works',
            breakdown and breakdown + grid(figures, ('by_number_of_images', 'by_group')),
        ),
        ('map', 'Map of embeddings', grid(figures, ('embedding_map',))),
        ('neighbours', 'Nearest neighbours', neighbours),
        ('training', 'Training', grid(figures, ('recall_by_round', 'recall_by_epsilon'))),
    ]
    return style.page(values['title'], values['about'], sections)


def picture(name: str, drawn: figure.Figure, caption: str = '') -> str:
    """Returns a figure with its caption as HTML."""
    data = base64.b64encode(drawing.png(drawn)).decode()
    width, height = (round(inches * drawing.DPI / 2) for inches in drawn.get_size_inches())
    caption = html.escape(caption or _CAPTIONS.get(name, name))
    return (
        f'<figure><img alt="{caption}" width="{width}" height="{height}"'
        f' src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )


def grid(figures: Mapping[str, figure.Figure], names: Iterable[str]) -> str:
    """Returns the figures that there are, side by side where there is room."""
    content = ''.join(picture(name, figures[name]) for name in names if name in figures)
    return f'<div class="figures">{content}</div>' if content else ''


def folded(title: str, content: str) -> str:
    """Returns content that a reader unfolds, with the keyboard or by a click."""
    return f'<details><summary>{html.escape(title)}</summary>{content}</details>'


def verdict(values: Mapping[str, Any]) -> str:
    """Returns how the model does against the baselines."""
    kind = 'verdict bad' if values['beats_baselines'] is False else 'verdict'
    return f'<p class="{kind}"><b>{html.escape(values["verdict"])}</b></p>'


def _first_screen(
    values: Mapping[str, Any],
    figures: Mapping[str, figure.Figure],
    privacy: Optional[Mapping[str, Any]],
) -> str:
    said = (words.ability(values), words.audience(values), words.protection(privacy))
    sentences = ''.join(f'<p>{html.escape(sentence)}</p>' for sentence in said)
    drawn = picture('overview', figures['overview']) if 'overview' in figures else ''
    return f'<div class="first"><div>{sentences}</div>{drawn}</div>{verdict(values)}'


def _privacy(statement: Optional[Mapping[str, Any]], text: str) -> str:
    if statement is None:
        return f'<p><b>{words.NO_STATEMENT}</b></p>'
    said = ''.join(f'<p>{html.escape(sentence)}</p>' for sentence in words.meaning(statement))
    return said + folded('The privacy statement in full', f'<pre>{html.escape(text)}</pre>')

"""One self-contained HTML file about a model, for people who did not train it."""

import base64
from collections.abc import Iterator, Mapping
import html
import io
from typing import Any, Optional

from matplotlib import figure

from dp_fedemb.evaluation import collection
from dp_fedemb.evaluation import verification

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #26323a; background: #f5f7f8;
  margin: 0; }
main { max-width: 60rem; margin: 2rem auto; padding: 2rem 2.5rem; background: #fff;
  border: 1px solid #e1e6e9; border-radius: 8px; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p.about, figcaption, .note { color: #5d6a72; font-size: .92rem; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.4rem 0; }
.card { border: 1px solid #e1e6e9; border-radius: 6px; padding: .7rem 1rem;
  min-width: 8.5rem; }
.card b { display: block; font-size: 1.5rem; }
.card span { color: #5d6a72; font-size: .85rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem .3rem 0; text-align: left;
  border-bottom: 1px solid #e8ecee; }
td.n, th.n { text-align: right; }
figure { margin: 1rem 0; } img { max-width: 100%; }
pre { background: #f5f7f8; padding: 1rem; border-radius: 6px; font-size: .8rem;
  white-space: pre-wrap; }
.warn { border-left: 4px solid #c2452d; padding-left: .8rem; }
"""

_CAPTIONS = {
    'training': 'Recall on unseen identities during training, by round and by the epsilon'
    ' spent until then.',
    'roc': 'Recall of genuine pairs against the false accept rate, over all pairs.',
    'similarities': 'How similar pairs of one identity (green) and of two (red) are;'
    ' lines are the thresholds of the stated false accept rates.',
    'neighbours': 'Images drawn at random and their nearest neighbours among all others,'
    ' with the similarity; green frames show the same identity, red frames another.',
}
_CONVENTIONS = (
    'All unordered pairs of distinct images are compared. A pair is genuine if both'
    ' images show one identity. A pair is accepted if its similarity is at least the'
    ' threshold; the threshold is the smallest one whose false accept rate does not'
    ' exceed the stated one. Retrieval takes each image as a query against all others;'
    ' images that are alone in their identity are no queries.'
)
NO_STATEMENT = (
    'No privacy statement is beside this model: nothing is known about the privacy of the'
    ' people it was trained on.'
)


def build(
    values: Mapping[str, Any],
    figures: Mapping[str, figure.Figure],
    privacy: Optional[Mapping[str, Any]] = None,
    privacy_text: Optional[str] = None,
    audit_text: Optional[str] = None,
) -> str:
    """Returns the report as HTML without references to other files.

    Args:
        values: of `collection.collect`; `values['title']` and `values['about']` (a few
            lines) say what was evaluated.
        figures: by name, see `plots`.
        privacy: the run's privacy statement (privacy.json), or None.
        privacy_text: the same as text.
        audit_text: what attacks on it showed (audit.json) as text, or None.
    """
    title = html.escape(values['title'])
    sections = [
        f'<h1>{title}</h1>',
        *(f'<p class="about">{html.escape(line)}</p>' for line in values['about']),
        f'<div class="cards">{"".join(_cards(values, privacy))}</div>',
        '<h2>Privacy of the training users</h2>',
        *_privacy(privacy, privacy_text),
        *_audit(audit_text),
        '<h2>Verification: do two images show the same identity?</h2>',
        _points_table(values),
        _figures_table(values),
        f'<p class="note">{html.escape(_CONVENTIONS)}</p>',
        '<h2>Pictures</h2>',
        *(_picture(name, picture) for name, picture in figures.items()),
    ]
    body = '\n'.join(sections)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{title}</title>\n<style>{_STYLE}</style></head>\n'
        f'<body><main>\n{body}\n</main></body></html>\n'
    )


def _cards(values: Mapping[str, Any], privacy: Optional[Mapping[str, Any]]) -> Iterator[str]:
    for point in values['points']:
        if not point['reason']:
            name = f'recall at FAR {point["target_far"]:g}'
            yield _card(collection.figure(point['recall']), name)
    for name in ('precision@1', 'pairs accuracy'):
        if name in values['metrics']:
            yield _card(collection.figure(values['metrics'][name]), name)
    if privacy and privacy.get('private') and privacy.get('epsilon_user') is not None:
        yield _card(f'{privacy["epsilon_user"]:.3g}', 'epsilon, one user')
    yield _card(f'{values["num_identities"]:,}', 'unseen identities')
    yield _card(f'{values["num_images"]:,}', 'images')


def _card(value: str, name: str) -> str:
    value, name = html.escape(value), html.escape(name)
    return f'<div class="card"><b>{value}</b><span>{name}</span></div>'


def _privacy(privacy: Optional[Mapping[str, Any]], text: Optional[str]) -> list[str]:
    if privacy is None:
        return [f'<p class="warn">{NO_STATEMENT}</p>']
    return [f'<pre>{html.escape(text or "")}</pre>']


def _audit(text: Optional[str]) -> list[str]:
    if text is None:
        return []
    return ['<h2>What attacks showed</h2>', f'<pre>{html.escape(text)}</pre>']


def _points_table(values: Mapping[str, Any]) -> str:
    rows = []
    for point in values['points']:
        name = verification.recall_name(point['target_far'])
        if point['reason']:
            reason = html.escape(f'not resolvable: {point["reason"]}')
            far = f'<td class="n">{point["target_far"]:g}</td>'
            rows.append(f'{far}<td colspan="4">{reason}</td>')
            continue
        cells = (
            f'{point["target_far"]:g}',
            f'{point["recall"]:.4f}',
            collection.interval_text(values, name),
            f'{point["threshold"]:.5f}',
            f'{point["accepted_impostors"]:,}',
        )
        rows.append(''.join(f'<td class="n">{cell}</td>' for cell in cells))
    head = ''.join(
        f'<th class="n">{name}</th>'
        for name in (
            'FAR at most',
            'recall',
            '95% interval',
            'threshold',
            'accepted impostor pairs',
        )
    )
    counts = (
        f'{values["genuine_pairs"]:,} genuine and {values["impostor_pairs"]:,} impostor pairs.'
    )
    body = ''.join(f'<tr>{row}</tr>' for row in rows)
    return f'<table><tr>{head}</tr>{body}</table><p class="note">{counts}</p>'


def _figures_table(values: Mapping[str, Any]) -> str:
    rows = ''.join(
        f'<tr><td>{html.escape(name)}</td><td class="n">{collection.figure(value)}</td></tr>'
        for name, value in values['metrics'].items()
        if not verification.is_recall(name)
    )
    return f'<table>{rows}</table>' if rows else ''


def _picture(name: str, picture: figure.Figure) -> str:
    buffer = io.BytesIO()
    picture.savefig(buffer, format='png')
    data = base64.b64encode(buffer.getvalue()).decode()
    caption = html.escape(_CAPTIONS.get(name, name))
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f'<figcaption>{caption}</figcaption></figure>'
    )

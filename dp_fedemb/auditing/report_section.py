"""What attacks on a run showed, as a section of its report."""

import base64
from collections.abc import Mapping
import html
import json
import pathlib
from typing import Any, Optional

from dp_fedemb import json_files
from dp_fedemb.auditing import finished
from dp_fedemb.auditing import report
from dp_fedemb.evaluation.report import page

_CAPTIONS = {
    'membership': 'Members that attacks find where one other in a thousand is called a member,'
    ' with 95% intervals, and the most that the guarantee allows. That points lie below it does'
    ' not prove that another attack would. Rates below 0.0001 are drawn there.',
    'membership_roc': 'For each training the attack with the largest area under its curve.'
    ' The further it is above the diagonal, the more the model tells of its members.',
}


def beside(run: pathlib.Path) -> Optional[str]:
    """Returns the audit.json of a run's directory and its pictures as HTML, None without one.

    Raises:
        ValueError: for a file that is damaged.
    """
    path = run / report.NAME
    values = report.read(path)
    with json_files.whole(path, report.WAY_OUT):
        parts = [
            _of_command(command, title, values[command], run)
            for command, title in report.TITLES.items()
            if command in values
        ]
        if not parts:
            return None
        said = html.escape(report.meaning_of_all(values))
    return f'<p>{said}</p>{"".join(parts)}'


def _of_command(command: str, title: str, found: Mapping[str, Any], run: pathlib.Path) -> str:
    alarms = ''.join(
        f'<p class="verdict bad"><b>ALARM: {html.escape(alarm)}</b></p>'
        for alarm in found['alarms']
    )
    parts = [f'<h3>{html.escape(title)}</h3>']
    parts.append(alarms or f'<p>{html.escape(report.NO_ALARM.capitalize())}.</p>')
    said = _of_what(command, found, run)
    parts.append(f'<p class="note">{html.escape(said)}</p>' if said else '')
    if 'bounds' in found:
        parts.append(report.bounds_table(found['bounds']).html())
    if 'attacks' in found:
        pictures = ''.join(_picture(run, name) for name in found.get('pictures', ()))
        parts.append(f'<div class="figures">{pictures}</div>' if pictures else '')
        parts.append(
            page.folded('All attacks', report.membership_table(found['attacks']).html())
        )
    if 'checks' in found:
        failed = sum(check['failed'] for check in found['checks'])
        words = f'{len(found["checks"])} checks, {failed} failed'
        parts.append(page.folded(words, report.checks_table(found['checks']).html()))
    return ''.join(parts)


def _of_what(command: str, found: Mapping[str, Any], run: pathlib.Path) -> str:
    """Says where what was attacked is not the run of the report."""
    if command in ('canaries', 'membership') and 'model' not in found:
        return 'Of models that were trained for the audit, not of the model of this report.'
    try:
        plan = finished.read_plan(run)
    except ValueError:
        return ''
    own = json.loads(json_files.text(plan.to_json()))
    others = sorted(name for name in own if found.get('plan', own).get(name) != own[name])
    if others:
        return f'At other settings than those of this run: {", ".join(others)}.'
    return 'At the settings of this run.' if 'plan' in found else ''


def _picture(run: pathlib.Path, name: str) -> str:
    """A picture that the audit has drawn; nothing where somebody has removed it."""
    path = run / f'{name}.png'
    if name not in _CAPTIONS or not path.is_file():
        return ''
    data = base64.b64encode(path.read_bytes()).decode()
    caption = html.escape(_CAPTIONS[name])
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f'<figcaption>{caption}</figcaption></figure>'
    )

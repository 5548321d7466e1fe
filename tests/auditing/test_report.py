"""audit.json: what several commands saw, in one file, and in the report of a run."""

import json
import math

import pytest

from dp_fedemb.auditing import checks
from dp_fedemb.auditing import report
from dp_fedemb.auditing.estimators import estimate as estimate_lib
from dp_fedemb.evaluation.report import page


def noise():
    found = estimate_lib.Estimate('games <of ours>', math.inf, 1.5, 0.95, 1e-5, 8.0, False)
    return {
        'bounds': [{'rounds': 3, **found.to_json()}],
        'checks': [checks.holds('a property', False, 'it has it not').to_json()],
        'alarms': ['a property: it has it not'],
    }


def test_commands_share_a_file(tmp_path):
    report.write(tmp_path / 'run', 'noise', noise())
    path = report.write(
        tmp_path / 'run', 'canaries', {'bounds': [], 'alarms': [], 'e': math.inf}
    )
    values = json.loads(path.read_text())
    assert set(values) == {'meaning', 'noise', 'canaries'}
    assert values['canaries']['e'] is None and 'proves nothing' in values['meaning']
    text = report.text_beside(tmp_path / 'run')
    assert 'ALARM: a property' in text and '1 failed' in text and report.NO_ALARM in text
    assert '1.500' in text and report.MEANING in text


def test_a_run_without_an_audit_has_none(tmp_path):
    assert report.text_beside(tmp_path) is None


@pytest.mark.parametrize('content', ['{', '[1]', ''])
def test_a_damaged_file_is_refused(content, tmp_path):
    (tmp_path / report.NAME).write_text(content)
    with pytest.raises(ValueError, match='no audit of ours'):
        report.write(tmp_path, 'noise', noise())
    assert (tmp_path / report.NAME).read_text() == content


def test_the_run_report_has_a_section_for_it(tmp_path):
    report.write(tmp_path, 'noise', noise())
    values = {
        'title': 'A run',
        'about': [],
        'headline_far': None,
        'num_images': 0,
        'num_identities': 0,
        'beats_baselines': None,
        'verdict': '',
    }
    assert 'What attacks showed' not in page.build(values, [], {})
    built = page.build(values, [], {}, audit=report.text_beside(tmp_path))
    assert 'What attacks showed' in built and '&lt;of ours&gt;' in built

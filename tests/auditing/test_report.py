"""audit.json: what several commands saw, in one file, and in the report of a run."""

from concurrent import futures
import dataclasses
import html
import json
import math

import pytest

from dp_fedemb import json_files
from dp_fedemb import privacy
from dp_fedemb.auditing import checks
from dp_fedemb.auditing import report
from dp_fedemb.auditing import report_section
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
    shown = html.unescape(report_section.beside(tmp_path / 'run'))
    assert 'ALARM: a property' in shown and '1 checks, 1 failed' in shown
    assert report.NO_ALARM.capitalize() in shown and '1.500' in shown and 'FAILED' in shown
    assert report.MEANING in shown and report.OF_CHECKS in shown


def test_words_are_of_what_was_done(tmp_path):
    attack = {'label': 'the model', 'attack': 'compactness', 'images': 'training images'}
    attack = {**attack, 'auc': 0.5, 'bound': None, 'rates': []}
    assert report.meaning({'attacks': [attack]}) == report.OF_ATTACKS
    bounded = {**attack, 'bound': {'lower': 1.0}}
    assert report.meaning({'attacks': [attack, bounded]}) == report.MEANING
    assert report.meaning({'checks': []}) == report.OF_CHECKS
    values = {'attacks': [bounded], 'alarms': [], 'pictures': ['membership', '../secret']}
    report.write(tmp_path, 'membership', values)
    assert '<img' not in report_section.beside(tmp_path)
    for name in ('membership.png', 'membership_roc.png'):
        (tmp_path / name).write_bytes(b'a picture')
    # A picture of another audit than that of the file is not its own.
    assert report_section.beside(tmp_path).count('<img') == 1


def test_what_was_attacked_is_told_from_the_run(tmp_path):
    plan = privacy.PrivacyPlan(64, 4, 2, 3, privacy.Gaussian(1.0, 0.6))
    (tmp_path / 'config.json').write_text(json_files.text({'plan': plan.to_json()}))
    report.write(tmp_path, 'noise', {**noise(), 'plan': plan.to_json()})
    report.write(tmp_path, 'canaries', {'bounds': [], 'alarms': []})
    shown = report_section.beside(tmp_path)
    assert 'At the settings of this run.' in shown and 'not of the model of this' in shown
    other = dataclasses.replace(plan, rounds=2, mechanism=privacy.Gaussian(1.0, 6.0))
    report.write(tmp_path, 'noise', {**noise(), 'plan': other.to_json()})
    found = 'At other settings than those of this run: mechanism, rounds.'
    assert found in report_section.beside(tmp_path)


def test_audits_that_end_at_once_lose_nothing(tmp_path):
    commands = ('noise', 'rounds', 'canaries', 'membership')
    with futures.ThreadPoolExecutor(len(commands)) as pool:
        for _ in range(10):
            list(pool.map(lambda name: report.write(tmp_path, name, {'alarms': []}), commands))
            assert set(commands) < set(json.loads((tmp_path / report.NAME).read_text()))
            (tmp_path / report.NAME).unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_an_audit_has_none(tmp_path):
    assert report_section.beside(tmp_path) is None


@pytest.mark.parametrize('content', ['{', '[1]', '', '{"rounds": 3}', '{"membership": null}'])
def test_a_damaged_file_is_refused(content, tmp_path):
    (tmp_path / report.NAME).write_text(content)
    with pytest.raises(ValueError, match='move it away'):
        report.write(tmp_path, 'noise', noise())
    with pytest.raises(ValueError, match='move it away'):
        report_section.beside(tmp_path)
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
    built = page.build(values, [], {}, audit=report_section.beside(tmp_path))
    assert 'What attacks showed' in built and '&lt;of ours&gt;' in built

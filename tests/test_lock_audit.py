"""`make audit` calls a lock clean only if it was looked up."""

import importlib.util
import pathlib

import pytest

PATH = pathlib.Path(__file__).parents[1] / 'requirements' / 'audit.py'


@pytest.fixture(scope='module')
def audit():
    spec = importlib.util.spec_from_file_location('lock_audit', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CLEAN = {'name': 'a', 'version': '1', 'vulns': []}
SKIPPED = {'name': 'b', 'skip_reason': 'Dependency not found'}
KNOWN = {
    'name': 'c',
    'version': '2',
    'vulns': [{'id': 'PYSEC-1', 'aliases': ['CVE-1'], 'fix_versions': ['3']}],
}


@pytest.mark.parametrize(
    'dependencies, accepted, code, words',
    [
        ([CLEAN], {}, 0, '1 dependencies looked up, 0 known'),
        ([CLEAN, SKIPPED], {}, 2, 'NOT AUDITED: 1 of 2'),
        ([SKIPPED], {}, 2, 'NOT AUDITED: 0 of 1'),
        ([], {}, 2, 'NOT AUDITED'),
        ([CLEAN, KNOWN], {}, 1, 'c 2: PYSEC-1, fixed in 3'),
        ([KNOWN, SKIPPED], {}, 1, 'NOT AUDITED'),
        ([KNOWN], {'CVE-1': 'c not reached'}, 0, 'accepted: PYSEC-1 (c not reached)'),
        ([CLEAN], {'CVE-1': 'c not reached'}, 0, 'no longer known, remove it: CVE-1'),
    ],
)
def test_verdicts(audit, dependencies, accepted, code, words):
    found, lines = audit.judge({'dependencies': dependencies}, accepted)
    assert found == code and words in '\n'.join(lines)


def test_an_acceptance_has_a_reason(audit):
    assert audit.read_accepted('# x\n\nCVE-1 c is not reached\n') == {
        'CVE-1': 'c is not reached'
    }
    with pytest.raises(ValueError, match='line 1: expected IDENTIFIER PACKAGE REASON'):
        audit.read_accepted('CVE-1 c')
    assert audit.read_accepted(audit.ACCEPTED.read_text()) == {}


def test_who_cannot_look_says_so_with_code_2(audit, monkeypatch, capsys):
    class Refused:
        returncode, stdout, stderr = 1, '', 'no\nindex'

    monkeypatch.setattr(audit.venv, 'create', lambda *args, **kwargs: None)
    monkeypatch.setattr(audit.subprocess, 'run', lambda *args, **kwargs: Refused)
    assert audit.main() == 2
    assert capsys.readouterr().out == (
        'NOT AUDITED: pip-audit could not be installed: no index\n'
    )

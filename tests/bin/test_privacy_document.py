"""docs/privacy.md: every command on it is run, and every figure compared."""

import doctest
import json
import pathlib
import re

import pytest

from dp_fedemb import privacy

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = (ROOT / 'docs' / 'privacy.md').read_text()
NOISE_TEXT = (ROOT / 'docs' / 'correlated_noise.md').read_text()
COMMANDS = re.findall(r'```console\n\$ bin/privacy\.py (.*)\n([^`]+)```', TEXT + NOISE_TEXT)
BASE = COMMANDS[0][0].split()[1:]


def _rows(heading):
    """Cells of the first table below a heading."""
    section = TEXT.split(f'\n## {heading}\n')[1].split('\n## ')[0]
    lines = [line for line in section.splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines[2:]]


CHANGES = _rows('What would change epsilon')


def test_there_is_something_to_check():
    assert len(COMMANDS) == (TEXT + NOISE_TEXT).count('$ bin/privacy.py') == 8
    assert len(CHANGES) == 15


@pytest.mark.parametrize('command, printed', COMMANDS, ids=lambda text: text[:40])
def test_commands_print_what_the_page_shows(privacy_process, command, printed):
    code, out, err, heavy = privacy_process(*command.split())
    assert code == 0, err
    assert out == printed
    assert heavy == []


@pytest.mark.parametrize('change, flags, epsilon, absent', CHANGES, ids=lambda text: text[:40])
def test_changes_have_the_epsilon_of_the_page(privacy_process, change, flags, epsilon, absent):
    del change
    arguments = [*BASE, *flags.strip('`').split(), '--json']
    code, out, err, _ = privacy_process('epsilon', *arguments)
    assert code == 0, err
    answer = json.loads(out)
    printed = [answer['epsilon_user'], answer['epsilon_present_absent']]
    assert [privacy.rounded_up_text(value) for value in printed] == [epsilon, absent]


def test_worked_example_is_right():
    blocks = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)
    assert len(blocks) == 1
    test = doctest.DocTestParser().get_doctest(blocks[0], {}, 'privacy.md', None, 0)
    results = doctest.DocTestRunner().run(test)
    assert results.attempted == 7 and results.failed == 0


def test_tables_name_every_sampler_and_mechanism():
    for heading, names in (
        ('Samplers', privacy.SAMPLINGS),
        ('Mechanisms', privacy.MECHANISMS),
    ):
        cells = ' '.join(row[0] for row in _rows(heading))
        assert {name for name in names if f'`{name}`' in cells} == set(names)


def test_files_that_it_names_exist():
    for path in re.findall(r'`(tests/[\w/.]+)`', TEXT):
        assert (ROOT / path).exists(), path

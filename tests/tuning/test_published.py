"""The published tables say what their records say, and their page says what the tables say."""

import csv
import json
import pathlib
import re

import pytest

from dp_fedemb.tuning import results

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACE = ROOT / 'docs' / 'results'
PAGE = (PLACE / 'README.md').read_text()
TABLES = sorted(path.parent for path in PLACE.glob('*/table.csv'))


def recalls(row):
    return {
        name: f'{float(value):.9g}' for name, value in row.items() if is_recall(name, value)
    }


def is_recall(name, value):
    return name.startswith('recall') and value not in (None, '')


@pytest.mark.parametrize('table', TABLES, ids=lambda path: path.name)
def test_rows_are_those_of_the_records(table):
    records = [json.loads(path.read_text()) for path in sorted(table.glob('cells/*.json'))]
    # A start that other cells begin with is in no row.
    shown = [record for record in records if 'printed' not in record and record['shown']]
    rows = [results.row(record) for record in shown]
    written = list(csv.DictReader((table / 'table.csv').read_text().splitlines()))
    found = sorted(repr(recalls(row)) for row in written if recalls(row))
    assert found == sorted(repr(recalls(row)) for row in rows if recalls(row))
    assert records and (table / 'figure.png').stat().st_size > 5000
    for record in records:
        assert record['command_line'] and record['wall_seconds'] > 0
        # Nothing of the machine, and no word of a guarantee that a seed has undone.
        assert not re.search('/(?:home|root|tmp|work)/', json.dumps(record))
        if record.get('seed') is not None and 'privacy' in record:
            assert record['privacy']['private'] is False


def test_figures_of_the_page_are_those_of_the_tables():
    tables = ''.join((path / 'table.md').read_text() for path in TABLES)
    figures = re.findall(r'\b0\.\d{4}\b(?: ± 0\.\d{4})?', PAGE)
    assert len(figures) >= 20
    assert [each for each in figures if each not in tables] == []


@pytest.mark.parametrize('table', TABLES, ids=lambda path: path.name)
def test_the_page_shows_every_table_and_says_what_is_missing(table):
    assert f'({table.name}/' in PAGE
    there, planned = re.search(
        r'(\d+) of (\d+) cells', (table / 'table.md').read_text()
    ).groups()
    if there != planned:
        section = next(each for each in PAGE.split('\n## ') if f'({table.name}/' in each)
        assert f'{there} of {planned} cells' in section


def test_links_of_the_page_lead_somewhere():
    for target in re.findall(r'\]\(([^)#]+)', PAGE):
        assert (PLACE / target).exists(), target

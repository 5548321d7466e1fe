"""JSON files hold what every reader of JSON takes."""

import json
import math
import pathlib

import numpy as np
import pytest

from dp_fedemb import json_files


def _strict(text):
    def refuse(constant):
        raise ValueError(f'{constant} is not JSON')

    return json.loads(text, parse_constant=refuse)


def test_numbers_that_are_not_finite_become_null_at_any_depth(tmp_path):
    value = {
        'recall': math.nan,
        'rows': [(math.inf, 1.5), {'low': -math.inf}],
        'epsilon': np.float32('nan'),
        'count': np.int64(3),
        'name': 'NaN',
        'path': pathlib.Path('a/b'),
    }
    json_files.write(tmp_path / 'found.json', value, 0o600)
    known = _strict((tmp_path / 'found.json').read_text())
    assert known == {
        'recall': None,
        'rows': [[None, 1.5], {'low': None}],
        'epsilon': None,
        'count': 3,
        'name': 'NaN',
        'path': 'a/b',
    }
    assert (tmp_path / 'found.json').stat().st_mode & 0o777 == 0o600


def test_one_line_where_asked():
    assert json_files.text({'a': [1, math.nan]}, indent=None) == '{"a": [1, null]}'


def test_what_cannot_be_written_leaves_the_file_that_is_there(tmp_path):
    json_files.write(tmp_path / 'found.json', {'a': 1})
    with pytest.raises(TypeError):
        json_files.write(tmp_path / 'found.json', {(1, 2): 'no key of JSON'})
    assert json.loads((tmp_path / 'found.json').read_text()) == {'a': 1}
    assert [each.name for each in tmp_path.iterdir()] == ['found.json']

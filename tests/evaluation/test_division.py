"""A run that may have been trained on those whom it is evaluated on."""

import json

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb.evaluation import division
from dp_fedemb.evaluation.report import writing


@pytest.fixture
def stores(tmp_path):
    made = {}
    for part, seed in (('train', 0), ('test', 1), ('others', 2)):
        images = np.random.default_rng(seed).integers(0, 256, (3, 2, 4, 4, 1), np.uint8)
        with data.UserStoreWriter(tmp_path / part, (4, 4, 1)) as writer:
            for place, of_user in enumerate(images):
                writer.add_user(of_user, [f'{part} {place}'] * 2)
        made[part] = data.UserStore.open(tmp_path / part)
    return made


@pytest.fixture
def run(tmp_path, stores):
    """A run that was trained on these people, and evaluated on part test."""
    counts = {part: [3, 3, 6] for part in ('train', 'test')}
    path = tmp_path / 'run'
    path.mkdir()
    (path / 'config.json').write_text(json.dumps({'task': 'drawn', 'data': counts}))
    own = {'part': 'test', 'evaluated': division.fingerprint(stores['test'])}
    (path / 'evaluation.json').write_text(json.dumps(own))
    return path


def test_the_same_people_are_no_matter(run, stores):
    assert division.warning(run, 'run', 'drawn', 'test', stores) == ''


def test_as_many_others_are_told_from_them(run, stores):
    found = division.warning(
        run, 'run', 'drawn', 'test', {'train': stores['train'], 'test': stores['others']}
    )
    assert found.startswith('WARNING: run was trained where') and 'others in part test' in found
    assert '--task_option' in found
    # Nothing is known of another task, and the training users are said to be these.
    assert division.warning(run, 'run', 'else', 'test', {'test': stores['others']}) == ''
    assert division.warning(run, 'run', 'drawn', 'train', stores) == ''


def test_other_numbers_are_told_without_an_evaluation(run, stores):
    (run / 'evaluation.json').unlink()
    assert division.warning(run, 'run', 'drawn', 'test', stores) == ''
    config = {'task': 'drawn', 'data': {'train': [4, 4, 8], 'test': [3, 3, 6]}}
    (run / 'config.json').write_text(json.dumps(config))
    found = division.warning(run, 'run', 'drawn', 'test', stores)
    assert '(4 users and 8 examples in part train, not 3 and 6)' in found
    (run / 'config.json').write_text('damaged')
    assert division.warning(run, 'run', 'drawn', 'test', stores) == ''


def test_a_comparison_says_it_of_any_model(report_pages, tmp_path):
    _, found = report_pages.evaluate(tmp_path, (5.0, 60.0))
    found[1].values['warning'] = 'WARNING: y was trained elsewhere.'
    result = writing.Comparison.of(found, ['a/x', 'a/y'], [tmp_path, tmp_path])
    assert result.values['about'][-1] == 'WARNING: y was trained elsewhere.'
    assert '<p class="verdict bad">WARNING: y was' in result.report({})

"""Search spaces: every combination, draws, and what is refused."""

import numpy as np
import pytest

from dp_fedemb.tuning import search


def test_a_grid_has_every_combination_once():
    space = search.parse(['client_lr=0.1,1', 'head=linear,cosface', 'rounds=5'])
    combinations = search.grid(space)
    assert len({repr(each) for each in combinations}) == 4
    assert combinations[0] == {'client_lr': 0.1, 'head': 'linear', 'rounds': 5}


def test_ranges_are_drawn_evenly_on_their_scale(tmp_path):
    path = tmp_path / 'grid.toml'
    path.write_text(
        'client_lr = {low = 0.01, high = 1.0, log = true}\n'
        'batch_size = {low = 8, high = 64, whole = true}\n'
        'head = ["linear", "cosface"]\n'
    )
    space = search.read(path)
    generator = np.random.default_rng(0)
    drawn = [search.draw(space, generator) for _ in range(2000)]
    rates = np.array([each['client_lr'] for each in drawn])
    assert rates.min() >= 0.01 and rates.max() <= 1.0
    # Half of them below the geometric mean, not below the middle.
    assert np.mean(rates < 0.1) == pytest.approx(0.5, abs=0.05)
    assert all(isinstance(each['batch_size'], int) for each in drawn)
    assert np.mean([each['head'] == 'linear' for each in drawn]) == pytest.approx(0.5, abs=0.05)
    with pytest.raises(ValueError, match='random_trials'):
        search.grid(space)


@pytest.mark.parametrize(
    'text', ['client_lr', '=1', 'client_lr=', 'client_lr=1,1', 'client_lr=1,1.0,1']
)
def test_bad_texts(text):
    with pytest.raises(ValueError, match='vary=|client_lr=') as error:
        search.parse([text])
    assert '\n' not in str(error.value)


def test_a_name_twice():
    with pytest.raises(ValueError, match='client_lr is there twice'):
        search.parse(['client_lr=1', 'client_lr=2'])


@pytest.mark.parametrize(
    'content, words',
    [
        ('client_lr = [', 'not TOML'),
        ('client_lr = 3', 'expected a list'),
        ('client_lr = []', 'expected a list'),
        ('client_lr = {low = 2, high = 1}', 'expected at most high'),
        ('client_lr = {low = 0.0, high = 1.0, log = true}', 'low=0.0'),
        ('client_lr = {least = 0.0}', 'expected low and high'),
    ],
)
def test_bad_files(tmp_path, content, words):
    path = tmp_path / 'grid.toml'
    path.write_text(content)
    with pytest.raises(ValueError, match=words):
        search.read(path)
    with pytest.raises(FileNotFoundError, match='no such file'):
        search.read(tmp_path / 'nothing.toml')

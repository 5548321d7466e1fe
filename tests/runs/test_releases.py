"""Rows of a run: what a restart writes again is what was there."""

import pathlib
import tempfile

import pytest

from dp_fedemb.runs import releases

# As of a run: a later round has a column of its own, before those that all rounds have.
ROWS = (
    {'round': 0, 'epsilon_user': 0.0, 'recall': 0.25},
    {'round': 1, 'clip_norm': 0.5},
    {'round': 2, 'epsilon_user': 1.5, 'clip_norm': 0.5, 'recall': 0.375},
    {'round': 3, 'clip_norm': 0.5},
    {'round': 4, 'epsilon_user': 2.5, 'clip_norm': 0.25, 'recall': 0.5},
)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.rglob('*') if path.is_file()}


def hash_of(directory, last):
    """What a checkpoint of the round after `last` has noted."""
    with tempfile.TemporaryDirectory(dir=directory) as other:
        found = releases.Releases(pathlib.Path(other, 'm.csv'), pathlib.Path(other, 'events'))
        for row in ROWS[: last + 1]:
            found.append([row])
        return found.hash


def written(directory, done, rows):
    """Files after a restart from a checkpoint, with the rounds that follow."""
    directory.mkdir(exist_ok=True)
    found = releases.Releases(directory / 'metrics.csv', directory / 'tensorboard')
    found.restore(done, [ROWS[done]], hash_of(directory, done - 1))
    for row in rows:
        found.append([row])
    return contents(directory)


@pytest.mark.parametrize('ended', range(1, len(ROWS)))
def test_files_do_not_depend_on_where_a_run_was_killed(tmp_path, ended):
    expected = written(tmp_path / 'undisturbed', 0, ROWS[1:])
    for done in range(ended + 1):
        directory = tmp_path / f'from{done}'
        written(directory, 0, ROWS[1 : ended + 1])
        assert written(directory, done, ROWS[done + 1 :]) == expected, done


@pytest.mark.parametrize('change', [('0.25', '0.5'), ('0.25', '0.25\0'), ('1,,,0.5', '1,,,')])
def test_rows_that_were_changed_are_refused(tmp_path, change):
    written(tmp_path / 'run', 0, ROWS[1:3])
    metrics = tmp_path / 'run' / 'metrics.csv'
    whole = metrics.read_text()
    assert change[0] in whole
    metrics.write_text(whole.replace(*change, 1))
    before = contents(tmp_path / 'run')
    with pytest.raises(ValueError, match='not those that the run wrote; restore the file'):
        written(tmp_path / 'run', 3, [])
    assert contents(tmp_path / 'run') == before

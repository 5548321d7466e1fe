"""Rows of a run: what a restart writes again is what was there."""

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


def written(directory, done, rows):
    """Files after a restart from a checkpoint, with the rounds that follow."""
    found = releases.Releases(directory / 'metrics.csv', directory / 'tensorboard')
    found.restore(done, [ROWS[done]])
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

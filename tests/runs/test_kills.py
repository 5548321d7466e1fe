"""A run that is killed at any file operation ends as one that never was.

`file_shim.py` ends the process at each of them. The same call again must leave the same
files, byte for byte.
"""

import dataclasses
import functools
import json

import pytest

from dp_fedemb import host_error
from dp_fedemb import privacy
from dp_fedemb.runs import directory as directory_lib

SEED = 2**100 + 7


@pytest.mark.parametrize(
    'mechanism, every',
    # Without epsilons a run takes a tenth of the time.
    [(privacy.ClipOnly(1.0), 1), (privacy.Gaussian(1.0, 0.5), 19)],
)
def test_killed_at_every_file_operation(
    make_experiment, users, in_fork, tree, tmp_path, file_shim, mechanism, every
):
    plan = dataclasses.replace(make_experiment().plan, mechanism=mechanism)
    make_experiment = functools.partial(make_experiment, plan=plan)
    scores = make_experiment().run(tmp_path / 'undisturbed', SEED)
    assert set(scores) == {'untrained', 'trained'}
    undisturbed = tree(tmp_path / 'undisturbed')
    # How many there are.
    with file_shim.Shim(tmp_path / 'counted').installed() as shim:
        make_experiment().run(tmp_path / 'counted', SEED)
    assert tree(tmp_path / 'counted') == undisturbed
    assert shim.count > 100
    for number in range(1, shim.count + 1, every):
        path = tmp_path / f'killed_{number}'

        def until_killed(path=path, number=number):
            with file_shim.Shim(path, number).installed():
                make_experiment().run(path, SEED)

        assert in_fork(until_killed) == file_shim.KILLED, number
        # What can be seen is never ahead of what is durable, nor of its statement.
        directory = directory_lib.RunDirectory(path)
        done = max(directory.checkpoints.rounds(), default=-1)
        if directory.metrics.exists():
            last = directory.metrics.read_text().splitlines()[-1].split(',')[0]
            assert not last.isdigit() or int(last) <= done, number
        if (path / 'saved_model' / 'saved_model.pb').exists():
            statement = json.loads((path / 'privacy.json').read_text())
            assert (directory.model_round() or 0) <= statement['rounds_completed'], number

        with file_shim.Shim(path).installed():
            make_experiment().run(path, SEED)
        found = tree(path)
        assert sorted(found.keys() ^ undisturbed.keys()) == [], number
        assert found == undisturbed, number
        for path in users.path.glob('privacy_ledger.*'):
            path.unlink()


def test_the_statement_is_right_after_a_kill_before_the_last_model(
    make_experiment, tmp_path, monkeypatch
):
    run = make_experiment()

    class Killed(BaseException):
        pass

    write_model = directory_lib.RunDirectory.write_model

    def stop(self, round_num, export):
        if round_num == 3:
            raise Killed
        write_model(self, round_num, export)

    monkeypatch.setattr(directory_lib.RunDirectory, 'write_model', stop)
    with pytest.raises(Killed):
        run.run(tmp_path / 'run', SEED)
    directory = directory_lib.RunDirectory(tmp_path / 'run')
    assert directory.read_json('privacy.json')['rounds_completed'] == 3
    assert directory.model_round() == 2
    assert not run.is_finished(directory)
    monkeypatch.undo()


def test_two_runs_at_once_are_refused(make_experiment, tmp_path):
    directory = directory_lib.RunDirectory(tmp_path / 'run')
    with directory.locked():
        with pytest.raises(host_error.HostError, match='another process is writing there'):
            make_experiment().run(directory, SEED)


def test_what_a_run_renames_is_on_the_disk(make_experiment, durable_renames, tmp_path):
    assert durable_renames(lambda: make_experiment().run(tmp_path / 'run', SEED)) > 10

"""A run that is killed at any file operation ends as one that never was.

A shim counts what touches the file system and ends the process before the operation of
a given number, or after half of a write, without any clean-up: as SIGKILL does. The same
call again must leave the same files, byte for byte.
"""

import builtins
import contextlib
import dataclasses
import functools
import json
import os

import pytest

from dp_fedemb import files
from dp_fedemb import privacy
from dp_fedemb.runs import directory as directory_lib

SEED = 2**100 + 7
KILLED = 77
_CALLS = ('open', 'write', 'fsync', 'replace', 'rename', 'unlink', 'mkdir', 'rmdir', 'chmod')


class Shim:
    """Counts file operations below a directory; at the chosen one the process ends."""

    def __init__(self, root, kill_at=None):
        self.count = 0
        self._root = str(root)
        self._kill_at = kill_at

    def _tick(self):
        self.count += 1
        if self.count == self._kill_at:
            os._exit(KILLED)

    @contextlib.contextmanager
    def installed(self):
        saved = {name: getattr(os, name) for name in _CALLS}
        exchange, builtin_open = files._exchange, builtins.open

        def wrap(name):
            def call(*arguments, **options):
                place = os.fspath(arguments[0]) if not isinstance(arguments[0], int) else None
                if place is None or str(place).startswith(self._root):
                    if name == 'write' and self.count + 1 == self._kill_at:
                        content = bytes(arguments[1])
                        saved['write'](arguments[0], content[: len(content) // 2])
                    self._tick()
                # Only a power cut needs it, and here it is most of the time.
                return None if name == 'fsync' else saved[name](*arguments, **options)

            return call

        def exchanged(*arguments):
            self._tick()
            return exchange(*arguments)

        def opened(place, mode='r', *arguments, **options):
            if str(place).startswith(self._root) and set(mode) & set('wax+'):
                self._tick()
            return builtin_open(place, mode, *arguments, **options)

        for name in _CALLS:
            setattr(os, name, wrap(name))
        files._exchange, builtins.open = exchanged, opened
        try:
            yield self
        finally:
            for name, call in saved.items():
                setattr(os, name, call)
            files._exchange, builtins.open = exchange, builtin_open


@pytest.mark.parametrize(
    'mechanism, every',
    # Without epsilons a run takes a tenth of the time.
    [(privacy.ClipOnly(1.0), 1), (privacy.Gaussian(1.0, 0.5), 19)],
)
def test_killed_at_every_file_operation(
    make_experiment, users, in_fork, tree, tmp_path, mechanism, every
):
    plan = dataclasses.replace(make_experiment().plan, mechanism=mechanism)
    make_experiment = functools.partial(make_experiment, plan=plan)
    scores = make_experiment().run(tmp_path / 'undisturbed', SEED)
    assert set(scores) == {'untrained', 'trained'}
    undisturbed = tree(tmp_path / 'undisturbed')
    # How many there are.
    with Shim(tmp_path / 'counted').installed() as shim:
        make_experiment().run(tmp_path / 'counted', SEED)
    assert tree(tmp_path / 'counted') == undisturbed
    assert shim.count > 100
    for number in range(1, shim.count + 1, every):
        path = tmp_path / f'killed_{number}'

        def until_killed(path=path, number=number):
            with Shim(path, number).installed():
                make_experiment().run(path, SEED)

        assert in_fork(until_killed) == KILLED, number
        # What can be seen is never ahead of what is durable, nor of its statement.
        directory = directory_lib.RunDirectory(path)
        done = max(directory.checkpoints.rounds(), default=-1)
        if directory.metrics.exists():
            last = directory.metrics.read_text().splitlines()[-1].split(',')[0]
            assert not last.isdigit() or int(last) <= done, number
        if (path / 'saved_model' / 'saved_model.pb').exists():
            statement = json.loads((path / 'privacy.json').read_text())
            assert (directory.model_round() or 0) <= statement['rounds_completed'], number

        with Shim(path).installed():
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
        with pytest.raises(ValueError, match='another process is writing there'):
            make_experiment().run(directory, SEED)


def test_what_a_run_renames_is_on_the_disk(make_experiment, durable_renames, tmp_path):
    assert durable_renames(lambda: make_experiment().run(tmp_path / 'run', SEED)) > 10

"""Nothing of a round is visible before it is durable and stated, wherever a run is killed."""

import contextlib

import pytest

from dp_fedemb.privacy import budget
from dp_fedemb.runs import candidates
from dp_fedemb.runs import directory as directory_lib
from dp_fedemb.runs import program as program_lib
from dp_fedemb.runs import releases as releases_lib

SEED = 2**100 + 7


class Killed(BaseException):
    """As a kill, but that it can be caught."""


def check_nothing_ahead(make_experiment, path, monkeypatch):
    """Kills a run wherever a checkpoint, a row, a statement or a model has been written.

    Raises AssertionError if something of a round was visible before it was durable, or a
    model before its statement.
    """
    for point in range(40):
        count = [0]

        def after(call, count=count, point=point):
            def wrapped(*arguments):
                result = call(*arguments)
                count[0] += 1
                if count[0] == point:
                    raise Killed
                return result

            return wrapped

        run_path = path / str(point)
        with monkeypatch.context() as patched:
            for owner, name in (
                (program_lib.checkpoints_lib.Checkpoints, 'save'),
                (releases_lib.Releases, 'append'),
                (releases_lib.Releases, 'restore'),
                (directory_lib.RunDirectory, 'write_statement'),
                (directory_lib.RunDirectory, 'write_model'),
                (budget, 'begin'),
            ):
                patched.setattr(owner, name, _keep_options(after(_plain(owner, name))))
            with contextlib.suppress(Killed):
                make_experiment().run(run_path, SEED)
        _check_visible(run_path)


def _plain(owner, name):
    call = getattr(owner, name)
    return lambda arguments, options: call(*arguments, **options)


def _keep_options(call):
    return lambda *arguments, **options: call(arguments, options)


def _check_visible(path):
    directory = directory_lib.RunDirectory(path)
    durable = max(directory.checkpoints.rounds(), default=-1)
    if directory.metrics.exists():
        last = int(directory.metrics.read_text().splitlines()[-1].split(',')[0])
        assert last <= durable, f'row {last}, durable {durable}'
    if (directory.saved_model / 'saved_model.pb').exists():
        statement = directory.read_json('privacy.json') or {'rounds_completed': -1}
        noted = directory.model_round()
        assert noted <= durable and noted <= statement['rounds_completed'], noted


def test_nothing_is_visible_before_it_is_durable_and_stated(
    make_experiment, tmp_path, monkeypatch
):
    check_nothing_ahead(make_experiment, tmp_path, monkeypatch)


def rows_first(monkeypatch):
    make_durable = program_lib.TrainingProgram._make_durable

    def faulty(self, state, done, rows):
        if done:
            self._releases.append(rows)
        return make_durable(self, state, done, rows)

    monkeypatch.setattr(program_lib.TrainingProgram, '_make_durable', faulty)


def the_model_first(monkeypatch):
    publish = program_lib.TrainingProgram._publish

    def faulty(self, state, done):
        models = candidates.of_state(state)
        self._directory.write_model(done, lambda path: self._export(models, path))
        publish(self, state, done)

    monkeypatch.setattr(program_lib.TrainingProgram, '_publish', faulty)


@pytest.mark.parametrize('fault', [rows_first, the_model_first])
def test_faults_of_order_are_noticed(make_experiment, tmp_path, monkeypatch, fault):
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        check_nothing_ahead(make_experiment, tmp_path, monkeypatch)

"""What runs spend is in the ledger of their users before anything is released."""

import dataclasses
import functools
import multiprocessing
import os
import shutil

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb import privacy
from dp_fedemb.privacy import ledger
from dp_fedemb.runs import experiment as experiment_lib
from dp_fedemb.runs import releases as releases_lib


class Killed(BaseException):
    """As a kill, but that it can be caught."""


def own_store(tmp_path):
    generator = np.random.default_rng(2)
    with data.UserStoreWriter(tmp_path / 'store', (4, 4, 1)) as writer:
        for user in range(12):
            writer.add_user(generator.integers(0, 256, (3, 4, 4, 1), np.uint8), [user] * 3)
    return data.UserStore.open(tmp_path / 'store')


def test_every_run_is_in_the_ledger_of_its_users(make_experiment, tmp_path):
    store = own_store(tmp_path)
    experiment = make_experiment(train=store)
    for name in ('one', 'two'):
        experiment.run(tmp_path / name)
    found = ledger.read(store.path)
    assert found.problems == () and len(found.latest()) == 2
    one = privacy.rounded_up(experiment.plan.epsilon())
    assert found.spent()[0] == pytest.approx(2 * one)
    # Finished: the same call again spends nothing.
    experiment.run(tmp_path / 'two')
    assert ledger.read(store.path) == found


def test_the_ledger_knows_before_anything_is_released(make_experiment, tmp_path, monkeypatch):
    store = own_store(tmp_path)

    def killed(self, rows):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(releases_lib.Releases, 'append', killed)
        with pytest.raises(Killed):
            make_experiment(train=store).run(tmp_path / 'run')
    (entry,) = ledger.read(store.path).latest().values()
    assert entry.rounds >= 1 and entry.epsilon > 0


def test_a_budget_is_not_overspent(make_experiment, tmp_path):
    store = own_store(tmp_path)
    plan = make_experiment().plan
    budget = 1.5 * plan.epsilon()
    make_experiment(train=store, budget_epsilon=budget).run(tmp_path / 'one')
    with pytest.raises(ValueError, match='budget_epsilon'):
        make_experiment(train=store, budget_epsilon=budget).run(tmp_path / 'two')
    assert not (tmp_path / 'two').exists()
    assert len(ledger.read(store.path).latest()) == 1


def test_a_ledger_that_cannot_be_written_is_said_before_anything_is(
    make_experiment, tmp_path, monkeypatch
):
    store = own_store(tmp_path)
    # As root may write anywhere, of the system's answer.
    monkeypatch.setattr(os, 'access', lambda path, mode: path != store.path)
    with pytest.raises(ValueError, match='ledger of releases cannot be written'):
        make_experiment(train=store).run(tmp_path / 'run')
    assert not (tmp_path / 'run').exists()
    make_experiment(train=store, in_ledger=False).run(tmp_path / 'run')


def half(make_experiment, path, monkeypatch, **changes):
    """A run that ends where its last round is published."""

    def killed(self, rows):
        if rows[-1]['round'] == 3:
            raise Killed
        append(self, rows)

    append = releases_lib.Releases.append
    with monkeypatch.context() as patched:
        patched.setattr(releases_lib.Releases, 'append', killed)
        with pytest.raises(Killed):
            make_experiment(**changes).run(path)
    # Before the last round.
    os.unlink(path / 'checkpoints/round_00000003.state')


def test_two_copies_of_a_run_do_not_both_go_on(make_experiment, tmp_path, monkeypatch, tree):
    store = own_store(tmp_path)
    half(make_experiment, tmp_path / 'run', monkeypatch, train=store)
    shutil.copytree(tmp_path / 'run', tmp_path / 'copy')
    (tmp_path / 'link').symlink_to('run')
    before = tree(tmp_path)
    with pytest.raises(ValueError, match=r"copy'.*is a copy of the run in .*run'"):
        make_experiment(train=store).run(tmp_path / 'copy')
    assert tree(tmp_path) == before
    # By another name, or moved, or the last one that is left.
    os.rename(tmp_path / 'run', tmp_path / 'moved')
    (tmp_path / 'link').unlink()
    (tmp_path / 'link').symlink_to('moved')
    make_experiment(train=store).run(tmp_path / 'link')
    with pytest.raises(ValueError, match='is a copy of the run in'):
        make_experiment(train=store).run(tmp_path / 'copy')
    shutil.rmtree(tmp_path / 'moved')
    make_experiment(train=store).run(tmp_path / 'copy')
    # Of a finished run, which makes no rounds, there may be any number.
    shutil.copytree(tmp_path / 'copy', tmp_path / 'backup')
    make_experiment(train=store).run(tmp_path / 'backup')
    assert len(ledger.read(store.path).latest()) == 1


def test_a_copy_of_before_does_not_go_on_in_the_place_of_the_run(
    make_experiment, tmp_path, monkeypatch, tree
):
    store, run, backup = own_store(tmp_path), tmp_path / 'run', tmp_path / 'backup'

    def killed(self, rows):
        append(self, rows)
        shutil.copytree(run, backup, dirs_exist_ok=True)
        if rows[-1]['round'] == 2:
            raise Killed

    append = releases_lib.Releases.append
    with monkeypatch.context() as patched:
        patched.setattr(releases_lib.Releases, 'append', killed)
        with pytest.raises(Killed):
            make_experiment(train=store).run(run)
    make_experiment(train=store).run(run)
    shutil.rmtree(run)
    shutil.copytree(backup, run)
    before = tree(tmp_path)
    with pytest.raises(
        ValueError, match=r'released rounds beyond 2,.* says up to 3.*newest copy'
    ):
        make_experiment(train=store).run(run)
    assert tree(tmp_path) == before
    # Nor does the last one that is left.
    shutil.rmtree(run)
    with pytest.raises(ValueError, match='released rounds beyond 2'):
        make_experiment(train=store).run(backup)


def test_a_seed_is_not_used_again_for_something_else(make_experiment, tmp_path, tree):
    store, seed = own_store(tmp_path), 2**100 + 7
    epsilon = privacy.rounded_up(make_experiment().plan.epsilon())
    # The same release twice is one.
    for name in ('one', 'same'):
        make_experiment(train=store).run(tmp_path / name, seed)
        assert ledger.read(store.path).spent()[0] == pytest.approx(epsilon)
    before = tree(tmp_path)
    with pytest.raises(ValueError, match="seed: a run in .*same'.* share their noise"):
        make_experiment(train=store, facts={'rate': 2}).run(tmp_path / 'other', seed)
    assert tree(tmp_path) == before
    # Without noise there is none to share.
    plan = dataclasses.replace(make_experiment().plan, mechanism=privacy.ClipOnly(1.0))
    make_experiment(train=store, plan=plan).run(tmp_path / 'without', seed)
    make_experiment(train=store).run(tmp_path / 'again', seed)


def test_of_a_seed_that_can_be_found_it_is_said(make_experiment, tmp_path, caplog):
    store = own_store(tmp_path)
    make_experiment(train=store).run(tmp_path / 'one', 7)
    assert 'seed: a run in' not in caplog.text
    make_experiment(train=store, facts={'rate': 2}).run(tmp_path / 'other', 7)
    assert 'seed: a run in' in caplog.text and 'share their noise' in caplog.text
    assert len(ledger.read(store.path).latest()) == 2


def at_once(fork, make_experiment, runs, monkeypatch):
    """Runs in processes that all have found that they may begin before any of them does.

    Args:
        fork: the fixture.
        make_experiment: the fixture.
        runs: (directory, secret seed or None, changes) of each.
        monkeypatch: the fixture.

    Returns:
        Message of each that was refused.
    """
    ready = multiprocessing.get_context('fork').Barrier(len(runs), timeout=60)
    train = experiment_lib.Experiment._train

    def together(self, *arguments):
        ready.wait()
        return train(self, *arguments)

    def work(place, seed, changes):
        try:
            make_experiment(**changes).run(place, seed)
        except ValueError as error:
            place.with_suffix('.refused').write_text(str(error))

    monkeypatch.setattr(experiment_lib.Experiment, '_train', together)
    children = [fork(functools.partial(work, *each)) for each in runs]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(runs)
    said = [place.with_suffix('.refused') for place, _, _ in runs]
    return [path.read_text() for path in said if path.exists()]


def released(directory):
    return sorted({'metrics.csv', 'privacy.json', 'saved_model'} & set(os.listdir(directory)))


def test_of_runs_that_begin_at_once_one_gets_what_is_left(
    make_experiment, tmp_path, fork, monkeypatch
):
    store = own_store(tmp_path)
    budget = 1.5 * make_experiment().plan.epsilon()
    changes = {'train': store, 'budget_epsilon': budget}
    # In forks the system would seem to draw the same seed.
    runs = [(tmp_path / f'run {i}', 2**100 + i, changes) for i in range(3)]
    said = at_once(fork, make_experiment, runs, monkeypatch)
    assert len(said) == 2 and all(text.startswith('budget_epsilon=') for text in said)
    assert sorted(map(len, (released(place) for place, _, _ in runs))) == [0, 0, 3]
    found = ledger.read(store.path)
    assert not found.problems and len(found.latest()) == 1 and found.spent()[0] <= budget


def test_of_runs_of_one_seed_that_begin_at_once_one_goes_on(
    make_experiment, tmp_path, fork, monkeypatch
):
    store, seed = own_store(tmp_path), 2**100 + 7
    runs = [
        (tmp_path / f'rate {rate}', seed, {'train': store, 'facts': {'rate': rate}})
        for rate in (1, 2)
    ]
    (said,) = at_once(fork, make_experiment, runs, monkeypatch)
    assert said.startswith('seed: a run in ') and 'share their noise' in said
    assert sorted(map(len, (released(place) for place, _, _ in runs))) == [0, 3]
    assert len(ledger.read(store.path).latest()) == 1


def test_of_copies_that_go_on_at_once_one_does(make_experiment, tmp_path, fork, monkeypatch):
    store = own_store(tmp_path)
    half(make_experiment, tmp_path / 'run', monkeypatch, train=store)
    for name in ('one', 'two'):
        shutil.copytree(tmp_path / 'run', tmp_path / name)
    # The place that the ledger knows is gone, so that neither is the copy.
    shutil.rmtree(tmp_path / 'run')
    before = len(released(tmp_path / 'one'))
    runs = [(tmp_path / name, None, {'train': store}) for name in ('one', 'two')]
    (said,) = at_once(fork, make_experiment, runs, monkeypatch)
    assert 'is a copy of the run in' in said
    assert before and len(ledger.read(store.path).latest()) == 1

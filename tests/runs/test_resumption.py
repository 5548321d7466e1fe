"""A round that is computed again: the same release, or another one that is accounted."""

import dataclasses
import json

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb import privacy
from dp_fedemb.runs import journal

SEED = 2**100 + 7
ROUNDS = 3


class Killed(BaseException):
    """As a kill, but that it can be caught."""


def weights_of(path):
    return np.frombuffer((path / 'saved_model' / 'variables' / 'data').read_bytes(), np.float32)


def stop_after_journal(monkeypatch, round_num):
    """The next run ends when a round's sum is committed, before its noise is drawn."""
    commit = journal.Journal.commit

    def killed(self, number, sums):
        attempt = commit(self, number, sums)
        if number == round_num:
            raise Killed
        return attempt

    monkeypatch.setattr(journal.Journal, 'commit', killed)


def test_another_sum_gets_other_noise_and_is_accounted(make_experiment, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after_journal(patched, 1)
        with pytest.raises(Killed):
            make_experiment().run(tmp_path / 'run', SEED)
    other = make_experiment(other_sum=1)
    other.run(tmp_path / 'run', SEED)
    assert other.engines[0].attempts == [1, 0]
    statement = json.loads((tmp_path / 'run' / 'privacy.json').read_text())
    assert statement['repeated_releases'] == 1 and statement['rounds_completed'] == ROUNDS
    plan = other.plan
    assert statement['epsilon_user'] > privacy.rounded_up(plan.epsilon())
    expected = plan.epsilon(repeated_releases=1)
    assert statement['epsilon_user'] == privacy.rounded_up(expected)
    # Four draws of noise were made in three rounds.
    assert statement['statistical_distance'] == pytest.approx(4e-9, abs=0)


def test_the_same_sum_gets_the_same_noise(make_experiment, tmp_path, monkeypatch):
    make_experiment().run(tmp_path / 'whole', SEED)
    with monkeypatch.context() as patched:
        stop_after_journal(patched, 1)
        with pytest.raises(Killed):
            make_experiment().run(tmp_path / 'run', SEED)
    again = make_experiment()
    again.run(tmp_path / 'run', SEED)
    assert again.engines[0].attempts == [0, 0]
    np.testing.assert_array_equal(weights_of(tmp_path / 'run'), weights_of(tmp_path / 'whole'))
    assert json.loads((tmp_path / 'run' / 'privacy.json').read_text())['repeated_releases'] == 0


def test_correlated_noise_is_not_drawn_anew_for_one_round(
    make_experiment, tmp_path, monkeypatch
):
    plan = dataclasses.replace(
        make_experiment().plan,
        mechanism=privacy.Tree(1.0, 0.5),
        sampling=privacy.MinSeparation(),
    )
    with monkeypatch.context() as patched:
        stop_after_journal(patched, 1)
        with pytest.raises(Killed):
            make_experiment(plan=plan).run(tmp_path / 'run')
    with pytest.raises(ValueError, match='round 2 was computed before with another sum'):
        make_experiment(plan=plan, other_sum=1).run(tmp_path / 'run')
    # Nothing was noted or spoilt: with the sum as it was it goes on.
    make_experiment(plan=plan).run(tmp_path / 'run')


def test_a_lost_journal_is_noticed(make_experiment, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after_journal(patched, 2)
        with pytest.raises(Killed):
            make_experiment().run(tmp_path / 'run', SEED)
    (tmp_path / 'run' / 'checkpoints' / 'sums.journal').unlink()
    with pytest.raises(ValueError, match='the journal of sums lacks 2 lines'):
        make_experiment().run(tmp_path / 'run', SEED)


def test_another_store_is_refused(make_experiment, users, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after_journal(patched, 1)
        with pytest.raises(Killed):
            make_experiment().run(tmp_path / 'run', SEED)
    generator = np.random.default_rng(1)
    with data.UserStoreWriter(tmp_path / 'other', (4, 4, 1)) as writer:
        for user in range(users.num_users):
            writer.add_user(generator.integers(0, 256, (3, 4, 4, 1), np.uint8), [user] * 3)
    # The same counts.
    other = data.UserStore.open(tmp_path / 'other')
    assert other.num_examples == users.num_examples
    with pytest.raises(ValueError, match='not those that the run began with'):
        make_experiment(train=other).run(tmp_path / 'run', SEED)
    make_experiment().run(tmp_path / 'run', SEED)

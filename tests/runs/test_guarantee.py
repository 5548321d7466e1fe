"""Faults that would break a run's guarantee, each patched in once and noticed."""

import dataclasses
import json

import numpy as np
import pytest

from dp_fedemb import privacy
from dp_fedemb.models import pretrained
from dp_fedemb.runs import starts

SEED, OTHER_SEED = 2**100 + 7, 2**100 + 8
ROUNDS = 3


def weights_of(path):
    return np.frombuffer((path / 'saved_model' / 'variables' / 'data').read_bytes(), np.float32)


def checks_of_draws(make_experiment, path):
    """Raises AssertionError unless rounds and seeds have noise and cohorts of their own."""
    draws = {}
    for name, seed in (('one', SEED), ('other', OTHER_SEED)):
        experiment = make_experiment()
        experiment.run(path / name, seed)
        run = privacy.PrivateRun(experiment.plan, seed)
        for round_num in range(ROUNDS):
            cohort = [users.tolist() for users in run.cohort(round_num).users]
            draws[seed, round_num] = (
                run.noise_key(round_num, 0),
                json.dumps(cohort),
                run.head_keys(round_num, 2).tobytes(),
            )
        draws[seed, 'weights'] = (weights_of(path / name).tobytes(),)
    for kind in range(3):
        each = [drawn[kind] for drawn in draws.values() if len(drawn) > kind]
        assert len(set(each)) == len(each), f'draws of kind {kind} repeat'


def test_seeds_and_rounds_have_draws_of_their_own(make_experiment, tmp_path):
    checks_of_draws(make_experiment, tmp_path)


def constant_noise(monkeypatch):
    monkeypatch.setattr(privacy.PrivateRun, 'noise_key', lambda self, *indices: b'k' * 32)


def the_same_cohort_every_round(monkeypatch):
    cohort = privacy.PrivateRun.cohort
    monkeypatch.setattr(privacy.PrivateRun, 'cohort', lambda self, round_num: cohort(self, 0))


def public_cohorts(monkeypatch):
    cohort = privacy.PrivateRun.cohort
    monkeypatch.setattr(
        privacy.PrivateRun,
        'cohort',
        lambda self, round_num: cohort(privacy.PrivateRun(self.plan, 1), round_num),
    )


def a_seed_of_16_bits(monkeypatch):
    init = privacy.PrivateRun.__init__
    monkeypatch.setattr(
        privacy.PrivateRun,
        '__init__',
        # Two seeds in 2**16 share it; these do.
        lambda self, plan, seed: init(self, plan, (seed >> 84) & 0xFFFF),
    )


@pytest.mark.parametrize(
    'fault',
    [constant_noise, the_same_cohort_every_round, public_cohorts, a_seed_of_16_bits],
)
def test_faults_of_draws_are_noticed(make_experiment, tmp_path, monkeypatch, fault):
    fault(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        checks_of_draws(make_experiment, tmp_path)


def test_the_systems_seeds_have_their_bits(system_seed):
    seeds = [system_seed() for _ in range(64)]
    assert len(set(seeds)) == 64 and max(seeds).bit_length() > 120


def test_the_replay_of_a_run_gets_its_released_weights(make_experiment, users, tmp_path):
    """Cohort, exact sum and noise again from the seed alone, as `FakeEngine` has them."""
    from dp_fedemb import randomness
    from dp_fedemb.data import virtual_clients

    experiment = make_experiment()
    experiment.run(tmp_path / 'run', SEED)
    run = privacy.PrivateRun(experiment.plan, SEED)
    weights = experiment.model.initial_weights(run.weights_seed)[0][0]
    for round_num in range(ROUNDS):
        (shard,) = virtual_clients.assemble(users, run, round_num, 1)
        total = np.bincount(shard['rows'] % 3, minlength=3)
        key = int.from_bytes(run.noise_key(round_num, 0), 'little')
        noise = randomness.generator(key, 'fake').normal(size=3)
        weights = (weights + total + noise).astype(np.float32)
    np.testing.assert_array_equal(weights_of(tmp_path / 'run'), weights)


def check_no_seed(path):
    """Raises AssertionError if a seed is in a file outside of the checkpoints."""
    for file in path.rglob('*'):
        if file.is_file() and 'checkpoints' not in file.parts:
            assert str(SEED).encode() not in file.read_bytes(), file


def test_no_seed_outside_of_the_checkpoints(make_experiment, users, tmp_path):
    make_experiment().run(tmp_path / 'run', SEED)
    check_no_seed(tmp_path / 'run')
    check_no_seed(users.path)
    assert str(SEED).encode() in b''.join(
        path.read_bytes() for path in (tmp_path / 'run' / 'checkpoints').iterdir()
    )
    # The fault.
    make_experiment(facts={'seed': SEED}, in_ledger=False).run(tmp_path / 'faulty', SEED)
    with pytest.raises(AssertionError, match='config.json'):
        check_no_seed(tmp_path / 'faulty')


@pytest.mark.parametrize('mechanism', ['gaussian', 'none'])
def test_a_start_that_saw_users_without_privacy(make_experiment, mechanism):
    start = starts.Start(lambda: None, pretrained.Origin('NOT PRIVATE', voids_guarantee=True))
    plan = make_experiment().plan
    if mechanism == 'none':
        without = dataclasses.replace(plan, mechanism=privacy.NoPrivacy())
        assert make_experiment(plan=without, start=start)
    else:
        with pytest.raises(ValueError, match='start: NOT PRIVATE'):
            make_experiment(start=start)


def started_from(make_experiment, path, ancestors, seed=None):
    origin = pretrained.Origin('a private run', False, tuple(ancestors))
    start = starts.Start(lambda: ([np.ones(3, np.float32)], []), origin)
    make_experiment(start=start).run(path, seed)
    return json.loads((path / 'privacy.json').read_text())


def test_all_ancestors_are_in_the_sum(make_experiment, tmp_path):
    first = started_from(make_experiment, tmp_path / 'first', [])
    assert first['private'] and first['epsilon_user_total'] == first['epsilon_user']
    origin = pretrained.read_origin(tmp_path / 'first')
    second = started_from(make_experiment, tmp_path / 'second', origin.ancestors)
    origin = pretrained.read_origin(tmp_path / 'second')
    third = started_from(make_experiment, tmp_path / 'third', origin.ancestors)
    assert len(third['ancestors']) == 2 and third['private']
    assert third['epsilon_user_total'] == pytest.approx(3 * first['epsilon_user'], rel=1e-6)
    assert second['epsilon_user_total'] == pytest.approx(2 * first['epsilon_user'], rel=1e-6)


def test_what_nobody_states_is_no_better_after_a_hop(make_experiment, tmp_path):
    make_experiment().run(tmp_path / 'first')
    (tmp_path / 'first' / 'privacy.json').unlink()
    origin = pretrained.read_origin(tmp_path / 'first')
    second = started_from(make_experiment, tmp_path / 'second', origin.ancestors)
    assert not second['private'] and second['private_by_itself']
    origin = pretrained.read_origin(tmp_path / 'second')
    third = started_from(make_experiment, tmp_path / 'third', origin.ancestors)
    assert not third['private']
    start = starts.Start(lambda: None, origin)
    with pytest.raises(ValueError, match='no sum can be stated'):
        make_experiment(start=start, require_private=True)


def test_a_seed_that_can_be_found_is_not_private(make_experiment, tmp_path):
    make_experiment().run(tmp_path / 'run', 7)
    statement = json.loads((tmp_path / 'run' / 'privacy.json').read_text())
    assert not statement['private'] and statement['weak_seed']
    assert 'NOT PRIVATE' in (tmp_path / 'run' / 'privacy.txt').read_text()
    with pytest.raises(ValueError, match='found by trying'):
        make_experiment(require_private=True).run(tmp_path / 'other', 7)
    assert not (tmp_path / 'other').exists()

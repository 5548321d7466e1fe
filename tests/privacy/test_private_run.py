"""One object draws a run's cohorts, noise, heads and weights, and tells nobody its seed."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from dp_fedemb import privacy
from dp_fedemb import randomness

SEED = 0xA5A5_1234_5678_9ABC_DEF0_1357


@pytest.fixture
def make_run(make_plan):
    return lambda seed=SEED: privacy.PrivateRun.start(make_plan('gaussian'), seed)


def test_it_hands_out_what_the_seed_gave_before(make_run):
    run = make_run()
    expected = run.plan.sampling.cohort(run.plan.population, SEED, 3)
    for users, others in zip(run.cohort(3).users, expected.users, strict=True):
        np.testing.assert_array_equal(users, others)
    generator = randomness.generator(SEED, 'virtual_clients', 3)
    keys = generator.integers(-(2**63), 2**63 - 1, size=(5, 2))
    np.testing.assert_array_equal(run.head_keys(3, 5), keys)
    np.testing.assert_array_equal(run.tf_noise_key(), randomness.tf_seed(SEED, 'noise'))
    assert run.weights_seed == run.secret_seed == SEED


def everything(run):
    cohorts = [users.tolist() for users in run.cohort(0).users]
    return [
        cohorts,
        run.head_keys(0, 2).tolist(),
        run.tf_noise_key().tolist(),
        run.noise_key(0),
    ]


def test_another_seed_or_round_gives_another_of_each(make_run):
    first, again, other = make_run(1), make_run(1), make_run(2)
    assert first == again and hash(first) == hash(again) and first != other
    assert everything(first) == everything(again)
    for mine, theirs in zip(everything(first), everything(other), strict=True):
        assert mine != theirs
    assert first.head_keys(0, 2).tolist() != first.head_keys(1, 2).tolist()
    different = {
        first.noise_key(),
        first.noise_key(0),
        first.noise_key(1),
        first.noise_key(0, 1),
        first.noise_key(1, 0),
        first.noise_key(11),
        first.noise_key(1, 1),
    }
    assert len(different) == 7 and all(len(key) == 32 for key in different)
    assert not first.noise_key().startswith(first.tf_noise_key().tobytes())


def test_a_new_seed_is_from_the_operating_system(make_plan):
    plan = make_plan('gaussian')
    seeds = {privacy.PrivateRun.start(plan).secret_seed for _ in range(20)}
    assert len(seeds) == 20 and max(seeds) > 2**100


def test_no_text_and_no_copy_of_it_holds_the_seed(make_run):
    run = make_run()
    for text in (repr(run), str(run), f'{run}', repr([run])):
        assert str(SEED) not in text and hex(SEED)[2:] not in text.lower()
    for leak in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError, match='holds the secret seed'):
            leak(run)
    with pytest.raises(TypeError):
        vars(run)
    assert not dataclasses.is_dataclass(run)  # asdict() would list the seed.


def test_it_does_not_change(make_run, make_plan):
    run = make_run()
    with pytest.raises(AttributeError, match='does not change'):
        run.plan = make_plan('tree')
    with pytest.raises(AttributeError, match='does not change'):
        del run._secret_seed


@pytest.mark.parametrize('seed', [-12345, 1.5, '12345', float('nan')])
def test_a_bad_seed_is_refused_without_its_value(make_run, seed):
    with pytest.raises(ValueError, match='secret_seed: expected an integer') as error:
        make_run(seed)
    assert '1234' not in str(error.value) and '\n' not in str(error.value)


def test_it_measures_participation(make_plan):
    run = privacy.PrivateRun.start(
        make_plan('tree', num_users=48, sampling=privacy.MinSeparation(min_separation=2)), SEED
    )
    seen = run.observed(8)
    assert seen.rounds == 8 and seen.min_separation >= 2 and seen.max_participations == 3
    assert run.observed(0) == privacy.Observed(0, None, 0)

"""One run hands out all that is secret, and says nothing of its seed."""

import pickle

import numpy as np
import pytest

from dp_fedemb import privacy

SEED = 0x5EC2E7


@pytest.fixture
def run(make_plan):
    return privacy.PrivateRun(make_plan('gaussian'), SEED)


def streams(run):
    """Everything that the run hands out for two rounds."""
    handed = [np.frombuffer(run.noise_key(*i), np.int64) for i in ((0,), (1,), (0, 1))]
    handed += [run.tf_noise_key(), *(run.head_keys(t, 3) for t in range(2))]
    return handed + [np.concatenate(run.cohort(t).users) for t in range(2)]


def test_everything_is_a_function_of_plan_and_seed(run, make_plan):
    again = privacy.PrivateRun(make_plan('gaussian'), SEED)
    for one, two in zip(streams(run), streams(again)):
        np.testing.assert_array_equal(one, two)


def test_another_seed_is_another_run(run):
    other = privacy.PrivateRun(run.plan, SEED + 1)
    for one, two in zip(streams(run), streams(other)):
        assert not np.array_equal(one, two)


def test_no_two_streams_are_the_same(run):
    handed = [one.tobytes() for one in streams(run)]
    assert len(set(handed)) == len(handed)


def test_a_new_run_has_a_seed_of_the_operating_system(run):
    runs = [privacy.PrivateRun.start(run.plan) for _ in range(4)]
    assert len({one.secret_seed for one in runs}) == 4
    assert max(one.secret_seed for one in runs).bit_length() > 112
    assert privacy.PrivateRun.start(run.plan, 0).secret_seed == 0


@pytest.mark.parametrize('seed', [-1, 1.5, None, '7'])
def test_bad_seeds_are_refused_without_being_named(run, seed):
    with pytest.raises(ValueError, match='secret_seed: expected an integer of at least 0'):
        privacy.PrivateRun(run.plan, seed)


def test_the_seed_is_not_told(run):
    for text in (repr(run), str(run), f'{run}'):
        assert str(SEED) not in text and f'{SEED:x}' not in text.lower()
    assert pickle.loads(pickle.dumps(run)) == run

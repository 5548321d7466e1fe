"""What samplers promise to the accountant, as frequencies of their own cohorts."""

import math

import numpy as np
import pytest
from scipy import stats

from dp_fedemb import privacy

N, M, K = 120, 6, 4  # q = 0.2
ROUNDS = 1500


def _sampler(sampling, n=N, m=M, k=K, seed=11):
    plan = privacy.PrivacyPlan(n, m, k, 1, privacy.NoPrivacy(), sampling)
    return privacy.PrivateRun(plan, seed)


def _members(sampler, rounds=ROUNDS):
    """Membership [rounds, N] as bool, and slot [rounds, N], -1 outside."""
    slots = np.full((rounds, sampler.plan.num_users), -1)
    for round_num in range(rounds):
        for slot, users in enumerate(sampler.cohort(round_num).users):
            assert (slots[round_num, users] == -1).all(), 'a user is in twice'
            slots[round_num, users] = slot
    return slots >= 0, slots


def _p_value_of_counts(counts, expected):
    return stats.chisquare(counts, expected).pvalue


@pytest.fixture(scope='module')
def poisson():
    return _members(_sampler(privacy.Poisson('slots')))


@pytest.fixture(scope='module')
def fixed_size():
    return _members(_sampler(privacy.FixedSize()))


def test_poisson_includes_every_user_with_q(poisson):
    members, _ = poisson
    z = (members.sum(axis=0) - ROUNDS * 0.2) / math.sqrt(ROUNDS * 0.2 * 0.8)
    assert stats.kstest(z, 'norm').pvalue > 0.01
    assert np.abs(z).max() < 4.5


def test_poisson_users_are_independent(poisson):
    """The cohort's size is binomial, and no two users attract or avoid each other."""
    members, _ = poisson
    sizes = members.sum(axis=1)
    variance = N * 0.2 * 0.8
    # Of a normal sample, its variance is off by sqrt(2 / rounds) of itself.
    assert abs(sizes.var() / variance - 1) < 4 * math.sqrt(2 / ROUNDS)
    correlation = np.corrcoef(members[:, :40].T)
    pairs = correlation[np.triu_indices(40, 1)]
    assert stats.kstest(pairs * math.sqrt(ROUNDS), 'norm').pvalue > 0.01


def test_poisson_rounds_are_independent(poisson):
    members, _ = poisson
    both = (members[1:] & members[:-1]).mean()
    assert both == pytest.approx(0.04, abs=4 * math.sqrt(0.04 / (ROUNDS * N)))


def test_poisson_slots_are_uniform_and_independent(poisson):
    members, slots = poisson
    counts = np.bincount(slots[members], minlength=M)
    assert _p_value_of_counts(counts, counts.sum() / M) > 0.01
    # Two users that are both in: all pairs of slots are equally likely.
    table = np.zeros((M, M))
    for first in range(0, 60, 2):
        both = members[:, first] & members[:, first + 1]
        np.add.at(table, (slots[both, first], slots[both, first + 1]), 1)
    flat = table.ravel()
    assert _p_value_of_counts(flat, flat.sum() / flat.size) > 0.01
    # Independent places make the sizes of virtual clients vary like a binomial; dealing
    # users out in groups would make them equal.
    sizes = np.array([[np.sum(row == slot) for slot in range(M)] for row in slots])
    expected = N * 0.2 / M * (1 - 0.2 / M)
    assert abs(sizes.var() / expected - 1) < 0.1


def test_poisson_has_every_slot_every_round_and_may_leave_some_empty():
    sampler = _sampler(privacy.Poisson('slots'), n=40, m=8, k=1)
    wide = _sampler(privacy.Poisson('slots'), n=40, m=4, k=2)
    assert all(len(wide.cohort(t).users) == 4 for t in range(50))
    assert any(min(map(len, wide.cohort(t).users)) == 0 for t in range(50))
    # k = 1: as many virtual clients as users came, none of them empty; m only expected.
    counts = [len(sampler.cohort(t).users) for t in range(200)]
    assert min(counts) < 8 < max(counts)
    assert np.mean(counts) == pytest.approx(8, abs=0.8)


def test_poisson_with_one_user_to_a_virtual_client_drops_nobody():
    """Rounds with more than m users are whole: cutting them would need another analysis."""
    sampler = _sampler(privacy.Poisson('slots'), n=200, m=10, k=1)
    members, _ = _members(sampler, 400)
    sizes = members.sum(axis=1)
    assert sizes.max() > 15
    assert abs(sizes.var() / (200 * 0.05 * 0.95) - 1) < 4 * math.sqrt(2 / 400)
    assert all(len(users) == 1 for t in range(20) for users in sampler.cohort(t).users)


def test_fixed_size_takes_the_same_number_without_replacement(fixed_size):
    members, slots = fixed_size
    assert (members.sum(axis=1) == M * K).all()
    for slot in range(M):
        assert ((slots == slot).sum(axis=1) == K).all()


def test_fixed_size_is_uniform_over_users_and_places(fixed_size):
    members, slots = fixed_size
    # Counts of a user vary as a binomial's; that all add up to a constant costs one N-th.
    z = (members.sum(axis=0) - ROUNDS * 0.2) / math.sqrt(ROUNDS * 0.2 * 0.8)
    assert stats.kstest(z, 'norm').pvalue > 0.01
    counts = np.array([np.bincount(slots[members[:, u], u], minlength=M) for u in range(N)])
    assert stats.chi2_contingency(counts).pvalue > 0.01
    together = (members[:, 0::2] & members[:, 1::2]).mean()
    assert together == pytest.approx(0.2 * 23 / 119, abs=4 * math.sqrt(0.04 / (60 * ROUNDS)))


@pytest.mark.parametrize('grouping', ['groups', 'slots'])
@pytest.mark.parametrize('min_separation', [None, 5, 3, 1])
@pytest.mark.parametrize('n, m, k', [(120, 6, 4), (97, 4, 3), (50, 10, 1), (61, 8, 1)])
def test_schedule_keeps_its_promises(n, m, k, min_separation, grouping):
    epoch = math.ceil(n / (m * k))
    if min_separation is not None and min_separation > epoch:
        pytest.skip('longer than an epoch: refused elsewhere')
    sampling = privacy.MinSeparation(min_separation, grouping=grouping)
    sampler = _sampler(sampling, n, m, k)
    rounds = 4 * epoch
    members, _ = _members(sampler, rounds)
    # Everybody exactly once an epoch, so max participations are ceil(rounds / epoch).
    per_epoch = members.reshape(4, epoch, n).sum(axis=1)
    assert (per_epoch == 1).all()
    sizes = members.sum(axis=1)
    # As even as what is dealt out allows: users, or groups of which one may be smaller.
    uneven = 1 if grouping == 'slots' else 2 * k - 1
    assert sizes.max() - sizes.min() <= uneven and sizes.max() <= m * k
    gaps = np.diff(np.nonzero(members.T)[1].reshape(n, 4), axis=1)
    assert gaps.min() >= (epoch if min_separation is None else min_separation)
    seen = sampler.observed(rounds)
    assert seen == privacy.Observed(rounds, int(gaps.min()), 4)
    assert sampling.participation(sampler.plan.population).most(rounds) == 4
    if min_separation is None:
        assert (gaps == epoch).all()


def test_reshuffling_moves_users_as_far_as_it_may():
    """A separation that is never tight would be noise accounted for nothing."""
    sampler = _sampler(privacy.MinSeparation(min_separation=3))
    assert sampler.observed(100).min_separation == 3
    assert _sampler(privacy.MinSeparation(min_separation=1)).observed(100).min_separation == 1


def test_observed_finds_a_broken_promise():
    class Eager(privacy.MinSeparation):
        def cohort(self, population, seed, round_num):
            return super().cohort(population, seed, round_num - round_num % 2)

    seen = _sampler(Eager()).observed(8)
    assert seen.min_separation == 1
    # And a statement made of it is refused.
    plan = privacy.PrivacyPlan(N, M, K, 8, privacy.Tree(1.0, 2.0), privacy.MinSeparation())
    with pytest.raises(ValueError, match='the cohorts are not those of this plan'):
        privacy.statement(plan, observed=seen)
    good = privacy.PrivateRun(plan, 1).observed(8)
    assert privacy.statement(plan, observed=good)['participation'] == {
        'min_separation': 5,
        'max_participations': 2,
        'observed_min_separation': 5,
        'observed_max_participations': 2,
    }


def test_observed_of_nothing_and_of_nobody_twice():
    sampler = _sampler(privacy.MinSeparation())
    assert sampler.observed(0) == privacy.Observed(0, None, 0)
    assert sampler.observed(5) == privacy.Observed(5, None, 1)


@pytest.mark.parametrize(
    'sampling',
    [
        privacy.Poisson(),
        privacy.Poisson('slots'),
        privacy.FixedSize(),
        privacy.MinSeparation(3),
        privacy.MinSeparation(3, grouping='slots'),
    ],
)
def test_cohort_is_a_function_of_seed_and_round(sampling):
    """So that a run that resumes goes on with the cohorts it would have had."""
    first, again, other = (_sampler(sampling, seed=seed) for seed in (5, 5, 6))
    in_order = [first.cohort(t) for t in range(12)]
    for round_num in (11, 3, 0, 7):
        for ours, theirs in zip(in_order[round_num].users, again.cohort(round_num).users):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == np.int64
    flat = [np.concatenate(s.cohort(3).users).tolist() for s in (first, other)]
    assert flat[0] != flat[1]
    rounds = {tuple(np.concatenate(cohort.users)) for cohort in in_order}
    assert len(rounds) == 12


def test_schedule_stops_at_max_participations():
    sampling = privacy.MinSeparation(max_participations=2)
    sampler = _sampler(sampling)
    assert sampling.most_rounds(sampler.plan.population) == 10
    sampler.cohort(9)
    with pytest.raises(ValueError, match='max_participations=2 times; expected less than 10'):
        sampler.cohort(10)


@pytest.mark.parametrize('separation, participations', [(None, None), (7, None), (3, 2)])
def test_fewest_users_are_enough_and_one_less_is_not(separation, participations):
    sampling = privacy.MinSeparation(separation, participations)
    fewest = sampling.fewest_users(privacy.Population(24, 6, 4), 30)

    def build(users):
        return privacy.PrivacyPlan(users, 6, 4, 30, privacy.Tree(1.0, 2.0), sampling)

    build(fewest)
    with pytest.raises(ValueError):
        build(fewest - 1)


@pytest.mark.parametrize('n', [120, 121, 123])
@pytest.mark.parametrize(
    'sampling', [privacy.Poisson(), privacy.MinSeparation(), privacy.MinSeparation(2)]
)
def test_groups_are_whole_but_for_one(sampling, n):
    """Of k members, but at most one of the N mod k that are left over, in all of an epoch."""
    run = _sampler(sampling, n)
    smaller = 0
    for round_num in range(6):
        cohort = run.cohort(round_num)
        assert cohort.whole_groups
        sizes = [len(users) for users in cohort.users]
        assert all(size in (K, n % K) for size in sizes) and 0 not in sizes
        assert sizes.count(n % K) <= 1 or n % K == 0
        smaller += sum(size < K for size in sizes)
    if isinstance(sampling, privacy.MinSeparation):
        assert smaller == (n % K > 0)  # An epoch is 5 or 6 rounds.


def test_slots_and_fixed_size_are_not_whole():
    for sampling in (
        privacy.Poisson('slots'),
        privacy.FixedSize(),
        privacy.MinSeparation(grouping='slots'),
    ):
        for k in (1, K):
            assert not _sampler(sampling, k=k).cohort(0).whole_groups
            assert _sampler(privacy.Poisson(), k=k).cohort(0).whole_groups


@pytest.fixture(scope='module')
def grouped():
    return _members(_sampler(privacy.Poisson()))


def test_groups_join_with_q_and_independently(grouped):
    members, _ = grouped
    z = (members.sum(axis=0) - ROUNDS * 0.2) / math.sqrt(ROUNDS * 0.2 * 0.8)
    assert stats.kstest(z, 'norm').pvalue > 0.01
    assert np.abs(z).max() < 4.5
    # The number of groups is binomial: 30 of them, each with q.
    counts = members.sum(axis=1) / K
    assert (counts == counts.astype(int)).all()
    assert abs(counts.var() / (30 * 0.2 * 0.8) - 1) < 4 * math.sqrt(2 / ROUNDS)
    both = (members[1:] & members[:-1]).mean()
    assert both == pytest.approx(0.04, abs=6 * math.sqrt(0.04 / (ROUNDS * N / K)))


def test_every_two_users_meet_as_often_as_in_random_groups(grouped):
    """The division is drawn anew: 2 users share a group with probability 3 / 119."""
    members, slots = grouped
    together = 0
    for first in range(0, N, 2):
        in_both = members[:, first] & members[:, first + 1]
        together += np.sum(in_both & (slots[:, first] == slots[:, first + 1]))
    expected = 60 * ROUNDS * 0.2 * 3 / 119
    assert abs(together - expected) < 4 * math.sqrt(expected)


def test_the_division_does_not_depend_on_who_joins():
    """Nor on data: it is a function of roster, seed and round alone."""
    half = privacy.PrivacyPlan(N, 3, K, 1, privacy.NoPrivacy())
    whole = privacy.PrivacyPlan(N, 30, K, 1, privacy.NoPrivacy())
    for round_num in range(5):
        some = privacy.PrivateRun(half, 5).cohort(round_num).users
        everybody = privacy.PrivateRun(whole, 5).cohort(round_num).users
        assert len(everybody) == 30 and len(some) < 30
        assert {tuple(users) for users in some} <= {tuple(users) for users in everybody}


def test_k_1_is_the_same_cohort_in_groups_and_slots():
    ours, theirs = (_sampler(privacy.Poisson(g), k=1).cohort(2) for g in ('groups', 'slots'))
    np.testing.assert_array_equal(np.concatenate(ours.users), np.concatenate(theirs.users))


def test_unknown_grouping_is_refused():
    for sampling in (privacy.Poisson, privacy.MinSeparation):
        with pytest.raises(ValueError, match="grouping='teams': expected one of groups, slots"):
            sampling(grouping='teams')

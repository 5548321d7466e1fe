"""Amplified banded noise: cohorts, what is accounted, and what is refused."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from dp_fedemb import privacy
from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import analysis as analysis_lib
from dp_fedemb.privacy.factorization import workload as workload_lib


@pytest.fixture
def plan(make_plan):
    """1,000 users in 5 parts; 8 groups of 2 expected of the 100 of a part."""
    return make_plan(
        privacy.Banded(0.5, 1.5, strategy_momentum=0.9),
        rounds=23,
        sampling=privacy.CyclicPoisson(cycle_rounds=5),
    )


def cohorts(plan, rounds):
    run = privacy.PrivateRun.start(plan, 7)
    return [run.cohort(number) for number in range(rounds)]


def test_parts_are_disjoint_and_come_round(plan):
    seen = [set() for _ in range(5)]
    for number, cohort in enumerate(cohorts(plan, 400)):
        seen[number % 5].update(np.concatenate(cohort.users).tolist())
    assert sum(map(len, seen)) == 1000 == len(set().union(*seen))


def test_groups_are_whole_and_drawn_anew(plan):
    first, again = cohorts(plan, 6)[::5]
    assert first.whole_groups
    assert {len(group) for group in first.users} == {2}
    pairs = lambda cohort: {tuple(sorted(group.tolist())) for group in cohort.users}
    assert not pairs(first) & pairs(again)


def test_expected_number_of_virtual_clients_is_m(plan):
    counts = [len(cohort.users) for cohort in cohorts(plan, 600)]
    assert abs(np.mean(counts) - 8) < 5 * (8 * 0.92 / 600) ** 0.5
    assert abs(np.var(counts) - 8 * 0.92) < 1.5


def test_every_group_of_a_part_is_as_likely(plan):
    times = np.zeros(1000)
    for cohort in cohorts(plan, 2000):
        times[np.concatenate(cohort.users)] += 1
    # 400 chances of 8%: 32.
    assert stats.kstest((times - 32) / (32 * 0.92) ** 0.5, 'norm').statistic < 0.08


def test_observed_participation_is_within_the_accounted(plan):
    run = privacy.PrivateRun.start(plan, 3)
    observed = run.observed(23)
    assert observed.min_separation >= 5 and observed.max_participations <= 5
    assert run.statement(23)['participation']['min_separation'] == 5


@pytest.mark.parametrize('rounds, chances', [(1, 1), (5, 1), (6, 2), (23, 5)])
def test_accounted_as_sampled_gaussians(plan, rounds, chances):
    norm = math.hypot(*plan.mechanism.strategy.numerator)
    assert len(plan.mechanism.strategy.numerator) == 5
    for unit, kind in (('user', 'replaced'), ('present_absent', 'add_or_remove')):
        expected = analysis_lib.SampledGaussian(kind, 1.5 / norm, 0.08, chances)
        assert plan.analysis(rounds, unit) == expected


def test_one_part_is_poisson_sampling(make_plan):
    mechanism = privacy.Gaussian(0.5, 1.5)
    one = make_plan(mechanism, sampling=privacy.CyclicPoisson(cycle_rounds=1))
    for unit in ('user', 'present_absent', 'virtual_client'):
        assert one.epsilon(unit=unit) == make_plan(mechanism).epsilon(unit=unit)


def loss_of(cycle, bands, chances, probability, ratio):
    """Hockey-stick curve of everything released, by draws of the likelihood ratio.

    One dimension, one user whose update is 1: rows of C x + Z with x_t = 1 in the rounds in
    which it was sampled, against nothing. The likelihood of the mixture over all patterns
    of participation is written out.
    """
    column, rounds = np.array(bands), chances * cycle + len(bands)
    rng = np.random.default_rng(11)
    matrix = np.zeros([rounds, chances])
    for chance in range(chances):
        matrix[chance * cycle : chance * cycle + len(column), chance] = column
    patterns = np.array(list(itertools.product((0.0, 1.0), repeat=chances)))
    weights = np.prod(np.where(patterns == 1, probability, 1 - probability), axis=1)
    means = patterns @ matrix.T
    drawn = rng.choice(len(weights), size=400_000, p=weights)
    outputs = means[drawn] + ratio * rng.normal(size=[400_000, rounds])
    log_ratio = np.log(
        np.exp((outputs @ means.T - 0.5 * np.sum(means**2, axis=1)) / ratio**2) @ weights
    )
    return lambda epsilon: np.mean(np.maximum(1 - np.exp(epsilon - log_ratio), 0.0))


BANDS, PROBABILITY, RATIO = [1.0, 0.75, 0.5], 0.3, 1.2


def accounted_delta(epsilon, chances):
    """Delta of the composed blocks, from the accountant's epsilons by bisection."""
    analysis = analysis_lib.SampledGaussian(
        'add_or_remove', RATIO / math.hypot(*BANDS), PROBABILITY, chances
    )
    low, high = 1e-7, 0.9
    for _ in range(30):
        middle = math.sqrt(low * high)
        if accounting.epsilon(analysis, middle) > epsilon:
            low = middle
        else:
            high = middle
    return high


@pytest.mark.parametrize('epsilon', [0.5, 1.5])
def test_blocks_cover_what_all_rows_together_tell(epsilon):
    delta = loss_of(3, BANDS, 3, PROBABILITY, RATIO)(epsilon)
    # Three standard errors of 400,000 draws of numbers below 1.
    error = 3 * (delta / 400_000) ** 0.5
    assert delta - error < accounted_delta(epsilon, 3) < delta + error + 0.002


def test_bands_that_reach_the_next_chance_tell_more():
    """Why more bands than parts are refused: a user that comes round too soon."""
    delta = loss_of(1, BANDS, 3, PROBABILITY, RATIO)(1.5)
    assert delta > 1.5 * accounted_delta(1.5, 3)


def test_pairs_without_an_analysis_are_refused(make_plan):
    sampling = privacy.CyclicPoisson(cycle_rounds=5)
    for mechanism, match in (
        (privacy.Banded(0.5, 1.5, bands=6), 'in the noise of 6 rounds, and users come round'),
        (privacy.Bisr(0.5, 1.5), 'in the noise of inf rounds'),
        (privacy.Blt(0.5, 1.5), 'in the noise of inf rounds'),
        (privacy.Tree(0.5, 1.5), 'in the noise of inf rounds'),
    ):
        with pytest.raises(ValueError, match=match):
            make_plan(mechanism, sampling=sampling)
    with pytest.raises(ValueError, match='cycle_rounds=63 .* expected at most 62'):
        make_plan('gaussian', sampling=privacy.CyclicPoisson(cycle_rounds=63))
    with pytest.raises(ValueError, match='cycle_rounds=None: expected'):
        make_plan('gaussian', sampling=privacy.CyclicPoisson())
    with pytest.raises(ValueError, match='cycle_rounds=0'):
        privacy.CyclicPoisson(cycle_rounds=0)


@pytest.mark.parametrize('solve_for', ['noise_multiplier', 'num_users'])
def test_calibrated(plan, solve_for):
    target = {'noise_multiplier': 2.0, 'num_users': 0.8 * plan.epsilon()}[solve_for]
    solved = privacy.calibrate(plan, target, solve_for)
    assert 0.9 * target < solved.epsilon() <= target


def test_amplified_noise_is_less_than_either(make_plan):
    """At epsilon 2: noise in the model after 64 rounds, momentum 0.9."""
    arguments = {'num_users': 20_000, 'rounds': 64}
    errors = {}
    for name, mechanism, sampling in (
        ('independent', privacy.Gaussian(0.5, 1.0), privacy.Poisson()),
        (
            'schedule',
            privacy.Banded(0.5, 1.0, strategy_momentum=0.9),
            privacy.MinSeparation(),
        ),
        (
            'amplified',
            privacy.Banded(0.5, 1.0, strategy_momentum=0.9),
            privacy.CyclicPoisson(cycle_rounds=8),
        ),
    ):
        found = privacy.calibrate(make_plan(mechanism, sampling=sampling, **arguments), 2.0)
        strategy = getattr(found.mechanism, 'strategy', None)
        noise = np.ones(1) if strategy is None else strategy.noise(64)
        squared, _ = workload_lib.Workload(64, 0.9).mean_squared_error(noise)
        errors[name] = found.noise_stddev * squared**0.5
    print(errors)
    assert errors['amplified'] < 0.8 * min(errors['independent'], errors['schedule'])

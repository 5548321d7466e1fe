"""From a target to a setting and back."""

import dataclasses

import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy import calibration

SETTINGS = {
    'poisson': ('gaussian', privacy.Poisson()),
    'fixed_size': ('gaussian', privacy.FixedSize()),
    'adaptive': ('adaptive_gaussian', privacy.Poisson()),
    'tree': ('tree', privacy.MinSeparation(min_separation=20)),
}


@pytest.fixture(params=sorted(SETTINGS))
def plan(request, make_plan):
    mechanism, sampling = SETTINGS[request.param]
    return make_plan(mechanism, sampling=sampling)


@pytest.mark.parametrize('target', [0.7, 8.0])
def test_noise_multiplier_is_found_to_four_digits(plan, target):
    if plan.mechanism.name == 'adaptive_gaussian' and target < 1:
        pytest.skip('needs more noise than its count has')
    solved = privacy.calibrate(plan, target)
    assert solved.epsilon() == pytest.approx(target, rel=1e-4)
    assert solved.epsilon() <= target
    # Nothing but the noise has changed.
    assert dataclasses.replace(solved, mechanism=plan.mechanism) == plan
    # The start does not matter.
    z = solved.mechanism.noise_multiplier
    start = dataclasses.replace(
        plan, mechanism=dataclasses.replace(plan.mechanism, noise_multiplier=0.8 * z)
    )
    assert privacy.calibrate(start, target).mechanism.noise_multiplier == pytest.approx(
        z, rel=1e-5
    )


def test_rounds_are_the_most_that_fit(plan):
    target = plan.epsilon(37)
    solved = privacy.calibrate(plan, target * (1 + 1e-9), 'rounds')
    assert solved.rounds >= 37
    assert solved.epsilon() <= target * (1 + 1e-9) < solved.epsilon(solved.rounds + 1)


def test_rounds_stop_where_the_schedule_does(make_plan):
    sampling = privacy.MinSeparation(max_participations=1)
    plan = make_plan('tree', sampling=sampling)
    solved = privacy.calibrate(plan, plan.epsilon(200), 'rounds')
    assert solved.rounds == 63  # One epoch: ceil(1000 / 16).


@pytest.mark.parametrize('delta', [None, 1e-7])
def test_num_users_are_the_fewest(make_plan, delta):
    plan = make_plan('gaussian', delta=delta)
    solved = privacy.calibrate(plan, 1.0, 'num_users')
    assert solved.epsilon() <= 1.0
    fewer = dataclasses.replace(solved, num_users=solved.num_users - 1)
    assert fewer.epsilon() > 1.0
    # One user more or less moves it by less than this.
    assert solved.epsilon() == pytest.approx(1.0, rel=5e-3)


def test_num_users_of_a_schedule_meet_the_target(make_plan):
    """The cost has steps, so it need not be the very fewest."""
    sampling = privacy.MinSeparation(min_separation=3)
    plan = make_plan('tree', rounds=40, sampling=sampling)
    solved = privacy.calibrate(plan, 10.0, 'num_users')
    assert solved.epsilon() <= 10.0
    assert solved.num_users > sampling.fewest_users(plan.population, 40)
    halved = dataclasses.replace(solved, num_users=solved.num_users // 2)
    assert halved.epsilon() > 10.0


def test_num_users_keep_delta_below_one_over_them(make_plan):
    plan = make_plan('gaussian', delta=5e-4, sampling=privacy.MinSeparation())
    with pytest.raises(calibration.UnreachableError, match='from 16 to 1999 .*leave delta'):
        privacy.calibrate(plan, 1e-3, 'num_users')


@pytest.mark.parametrize('grouping', ['groups', 'slots'])
def test_cohort_is_the_largest(make_plan, grouping):
    plan = make_plan('gaussian', num_users=2_000, sampling=privacy.Poisson(grouping))
    solved = privacy.calibrate(plan, 1.0, 'virtual_clients_per_round')
    m = solved.virtual_clients_per_round
    assert 1 < m < 2_000 // plan.users_per_virtual_client and solved.epsilon() <= 1.0
    assert dataclasses.replace(solved, virtual_clients_per_round=m + 1).epsilon() > 1.0
    everybody = privacy.calibrate(plan, 1e4, 'virtual_clients_per_round')
    assert everybody.virtual_clients_per_round == 2_000 // plan.users_per_virtual_client


def test_cohort_of_a_simulated_deployment_is_not_solved_for(make_plan):
    plan = make_plan('gaussian', noise_cohort_size=1_000)
    with pytest.raises(ValueError, match='noise_cohort_size=1000 with solve_for'):
        privacy.calibrate(plan, 1.0, 'virtual_clients_per_round')


@pytest.mark.parametrize(
    'name, target, solve_for, message',
    [
        ('gaussian', 1e-4, 'rounds', 'one round costs'),
        ('gaussian', 1e-4, 'virtual_clients_per_round', 'a cohort of one virtual client'),
        ('gaussian', 1e9, 'noise_multiplier', 'by a noise_multiplier below 0.001'),
        ('adaptive_gaussian', 1e-3, 'noise_multiplier', 'by any noise_multiplier below 2'),
        ('gaussian', 0.0, 'rounds', 'target_epsilon=0.0: expected a number above 0'),
        ('gaussian', float('inf'), 'rounds', 'target_epsilon=inf: expected a finite'),
        ('gaussian', 1.0, 'clip_norm', "solve_for='clip_norm': expected one of noise"),
    ],
)
def test_unreachable_targets_are_refused(make_plan, name, target, solve_for, message):
    with pytest.raises(ValueError, match=message):
        # Without amplification, an epsilon takes no time.
        privacy.calibrate(make_plan(name, sampling=privacy.MinSeparation()), target, solve_for)

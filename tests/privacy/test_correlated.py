"""Mechanisms with correlated noise: what they cost, and what is refused."""

import dataclasses
import itertools

import numpy as np
import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.factorization import series

CORRELATED = {
    'banded': privacy.Banded(0.5, 1.5, strategy_momentum=0.9, bands=6),
    'bisr': privacy.Bisr(0.5, 1.5, strategy_momentum=0.9, draws=4),
    'blt': privacy.Blt(0.5, 1.5, strategy_momentum=0.9, buffers=2),
}


@pytest.fixture(params=CORRELATED)
def mechanism(request):
    return CORRELATED[request.param]


def brute_force_ratio(plan, rounds):
    """z over the sensitivity of the first rounds, from the matrix and every first round."""
    matrix = series.matrix(plan.mechanism.strategy.column(rounds), rounds)
    epoch = -(-plan.num_users // plan.population.users_per_round)
    worst = 0.0
    for first in range(min(epoch, rounds)):
        columns = matrix[:, first::epoch]
        worst = max(worst, np.abs(columns.T @ columns).sum())
    return plan.mechanism.noise_multiplier / (plan.sensitivity_over_clip * worst**0.5)


@pytest.mark.parametrize('rounds', [1, 9, 10, 11, 20, 30, 37])
def test_epsilon_is_that_of_one_gaussian(mechanism, rounds, make_plan):
    # Ten rounds an epoch; the plan has twenty.
    plan = make_plan(mechanism, rounds=20, num_users=160)
    one = make_plan(
        privacy.Gaussian(0.5, brute_force_ratio(plan, rounds) * plan.sensitivity_over_clip),
        rounds=1,
        num_users=160,
        sampling=privacy.MinSeparation(),
    )
    np.testing.assert_allclose(plan.epsilon(rounds), one.epsilon(1), rtol=1e-6)


def test_fewer_rounds_cost_less_and_the_strategy_stays(mechanism, make_plan):
    plan = make_plan(mechanism, rounds=40, num_users=160)
    spent = [plan.epsilon(rounds) for rounds in (0, 1, 5, 10, 11, 21, 40, 50)]
    assert spent[0] == 0 and all(a < b for a, b in itertools.pairwise(spent))
    short, long = plan.mechanism.strategy.column(10), plan.mechanism.strategy.column(60)
    np.testing.assert_array_equal(short, long[:10])
    # As the command does that checks the epsilon of a run that is not finished.
    again = make_plan(
        dataclasses.replace(mechanism, strategy_rounds=40), rounds=11, num_users=160
    )
    assert again.epsilon() == plan.epsilon(11)
    assert make_plan(mechanism, rounds=11, num_users=160).epsilon() != plan.epsilon(11)


def test_users_that_move_inside_windows_cost_no_less(mechanism, make_plan):
    plan = make_plan(mechanism, rounds=40, num_users=160)
    change = plan.sampling.record_change(plan.population)
    costs = [
        plan.mechanism.squared_sensitivity(
            change, participation_lib.ParticipationSchedule(10, window), 40
        )
        for window in (1, 4, 5, 6, 10)
    ]
    assert costs == sorted(costs) and costs[0] < costs[-1]
    # Six bands stay exact as long as the separation is no less.
    if mechanism.name == 'banded':
        np.testing.assert_allclose(costs[2], costs[0])
        assert costs[3] > costs[2]


@pytest.mark.parametrize('solve_for', ['noise_multiplier', 'rounds', 'num_users'])
def test_calibrated_plans_meet_the_target(mechanism, solve_for, make_plan):
    plan = make_plan(mechanism, rounds=40, num_users=160)
    more_users = make_plan(mechanism, rounds=40, num_users=400).epsilon()
    target = {'noise_multiplier': 4.0, 'rounds': 30.0, 'num_users': more_users}[solve_for]
    solved = privacy.calibrate(plan, target, solve_for)
    assert 0 < solved.epsilon() <= target
    # What the plan says of itself follows from its own schedule.
    fresh = make_plan(
        dataclasses.replace(mechanism, noise_multiplier=solved.mechanism.noise_multiplier),
        rounds=solved.rounds,
        num_users=solved.num_users,
    )
    assert fresh.mechanism == solved.mechanism


def test_less_noise_in_the_model_at_the_same_epsilon(mechanism, make_plan):
    """Drawn through the server's SGD: the RMS of the iterates, at epsilon 8."""
    rng, rounds = np.random.default_rng(5), 60
    errors = {}
    for candidate in (mechanism, privacy.Gaussian(0.5, 1.5)):
        plan = privacy.calibrate(
            make_plan(
                candidate, rounds=rounds, num_users=320, sampling=privacy.MinSeparation()
            ),
            8.0,
        )
        draws = plan.noise_stddev * rng.normal(size=(rounds, 2000))
        if candidate is mechanism:
            matrix = series.matrix(plan.mechanism.strategy.column(rounds), rounds)
            draws = np.linalg.solve(matrix, draws)
        velocity, model, squares = 0.0, 0.0, 0.0
        for noise in draws:
            velocity = 0.9 * velocity + noise
            model = model + velocity
            squares += np.mean(model**2) / rounds
        errors[candidate.name] = squares**0.5
    assert errors[mechanism.name] < 0.5 * errors['gaussian']


def test_samplers_without_an_analysis_are_refused(mechanism, make_plan):
    for sampling in (privacy.Poisson(), privacy.FixedSize()):
        with pytest.raises(ValueError, match='correlated'):
            make_plan(mechanism, sampling=sampling)


def test_more_bands_than_the_separation_are_refused(make_plan):
    with pytest.raises(ValueError, match='bands=11: expected at most 10'):
        make_plan(privacy.Banded(0.5, 1.5, bands=11), num_users=160)
    with pytest.raises(ValueError, match='bands=6: expected at most 5'):
        make_plan(
            CORRELATED['banded'],
            num_users=160,
            sampling=privacy.MinSeparation(min_separation=5),
        )


def test_the_separation_is_the_default_of_bands(make_plan):
    plan = make_plan(privacy.Banded(0.5, 1.5), num_users=160, rounds=40)
    numerator = plan.mechanism.strategy.numerator
    assert len(numerator) == 10
    cost = plan.mechanism.squared_sensitivity(
        plan.sampling.record_change(plan.population),
        participation_lib.ParticipationSchedule(10),
        40,
    )
    # Four participations, none of them cut off by the last round.
    per_round = np.sum(np.square(numerator)) * (plan.sensitivity_over_clip / 1.5) ** 2
    np.testing.assert_allclose(cost, 4 * per_round)


def test_the_strategy_is_in_the_plan_as_json(mechanism, make_plan):
    plan = make_plan(mechanism, rounds=20, num_users=160)
    fields = plan.to_json()['mechanism']
    noise = series.quotient(
        np.array(fields['strategy']['denominator']),
        np.array(fields['strategy']['numerator']),
        30,
    )
    np.testing.assert_array_equal(noise, plan.mechanism.strategy.noise(30))
    assert fields['strategy_rounds'] == 20


def test_unplanned_mechanisms_have_no_strategy(mechanism):
    with pytest.raises(ValueError, match='strategy=None: it follows from the schedule'):
        mechanism.resolved_strategy()


@pytest.mark.parametrize(
    'build, match',
    [
        (lambda: privacy.Banded(0.5, 1.5, bands=0), 'bands=0'),
        (lambda: privacy.Bisr(0.5, 1.5, draws=0), 'draws=0'),
        (lambda: privacy.Blt(0.5, 1.5, buffers=0), 'buffers=0'),
        (lambda: privacy.Blt(0.5, 1.5, strategy_momentum=1.0), 'strategy_momentum=1.0'),
        (lambda: privacy.Blt(0.5, 1.5, strategy_rounds=0), 'strategy_rounds=0'),
        (lambda: privacy.Blt(0.5), 'both must be positive'),
    ],
)
def test_bad_options_are_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()


def test_strategy_follows_the_servers_schedule_and_averaging(make_plan):
    plain = make_plan(privacy.Banded(0.5, 1.5, strategy_momentum=0.9), rounds=40)
    for options in ({'strategy_lr_schedule': 'step'}, {'strategy_averaging': 0.8}):
        mechanism = privacy.Banded(0.5, 1.5, strategy_momentum=0.9, **options)
        plan = make_plan(mechanism, rounds=40)
        assert plan.mechanism.strategy != plain.mechanism.strategy
        # What it costs is that of the strategy found, whatever it was made for.
        norm = np.linalg.norm(plan.mechanism.strategy.numerator)
        times = plan.sampling.participation(plan.population).most(40)
        rho = plan.zcdp_rho()
        assert rho == pytest.approx(times * (2 * norm / 1.5) ** 2 / 2)
        command = privacy.statement(plan)['verify']
        name, value = next(iter(options.items()))
        assert f'--{name}={value}' in command


@pytest.mark.parametrize(
    'options, match',
    [
        (
            {'strategy_lr_schedule': 'exponential'},
            "strategy_lr_schedule='exponential': expected",
        ),
        (
            {'strategy_averaging': 1.0},
            'strategy_averaging=1.0: expected a number of at least 0 and below 1',
        ),
    ],
)
def test_servers_steps_that_do_not_exist_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        privacy.Blt(0.5, 1.5, **options)

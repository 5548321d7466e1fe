"""Sensitivity of strategies, against every pattern and every choice of signs."""

import itertools

import numpy as np
import pytest

from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.factorization import banded
from dp_fedemb.privacy.factorization import sensitivity
from dp_fedemb.privacy.factorization import series
from dp_fedemb.privacy.factorization import workload as workload_lib

DECREASING = np.array([1.0, 0.8, 0.5, 0.45, 0.2, 0.2, 0.1])
NONNEGATIVE = np.array([1.0, 0.2, 0.9, 0.0, 0.6, 1.3])
SIGNED = np.array([1.0, -0.7, 0.4, 0.1, -0.5])


def patterns(schedule, rounds):
    """Every set of rounds that some user can be in."""
    for first in range(0, schedule.epoch, schedule.window):
        window = range(first, min(first + schedule.window, schedule.epoch))
        for places in itertools.product(window, repeat=-(-rounds // schedule.epoch)):
            pattern = [e * schedule.epoch + place for e, place in enumerate(places)]
            yield [r for r in pattern if r < rounds]


def brute_force(strategy, schedule, rounds):
    """Greatest squared norm of C times one user's updates of +1 or -1."""
    matrix, best = series.matrix(strategy, rounds), 0.0
    for pattern in patterns(schedule, rounds):
        for signs in itertools.product((1.0, -1.0), repeat=max(len(pattern) - 1, 0)):
            moved = matrix[:, pattern] @ np.array([1.0, *signs])[: len(pattern)]
            best = max(best, float(moved @ moved))
    return best


@pytest.mark.parametrize('strategy', [DECREASING, NONNEGATIVE], ids=['decreasing', 'any'])
@pytest.mark.parametrize('epoch', [1, 2, 3, 5, 20])
@pytest.mark.parametrize('rounds', [1, 5, 9])
def test_cyclic_is_exact_for_nonnegative_strategies(strategy, epoch, rounds):
    schedule = participation_lib.ParticipationSchedule(epoch)
    expected = brute_force(strategy, schedule, rounds)
    np.testing.assert_allclose(sensitivity.squared(strategy, schedule, rounds), expected)


@pytest.mark.parametrize('epoch', [1, 2, 3, 5])
@pytest.mark.parametrize('rounds', [1, 4, 9])
def test_cyclic_bounds_signed_strategies(epoch, rounds):
    schedule = participation_lib.ParticipationSchedule(epoch)
    exact = brute_force(SIGNED, schedule, rounds)
    bound = sensitivity.squared(SIGNED, schedule, rounds)
    assert exact * (1 - 1e-12) <= bound <= 1.5 * exact


@pytest.mark.parametrize(
    'strategy, loose', [(DECREASING, 1.35), (NONNEGATIVE, 2.3), (SIGNED, 2.3)]
)
@pytest.mark.parametrize('epoch, window', [(3, 2), (4, 4), (5, 3), (6, 2)])
@pytest.mark.parametrize('rounds', [3, 11])
def test_windows_are_an_upper_bound(strategy, loose, epoch, window, rounds):
    schedule = participation_lib.ParticipationSchedule(epoch, window)
    exact = brute_force(strategy, schedule, rounds)
    bound = sensitivity.squared(strategy, schedule, rounds)
    assert exact * (1 - 1e-12) <= bound <= loose * exact


@pytest.mark.parametrize('strategy', [DECREASING[:3], SIGNED[:3]])
@pytest.mark.parametrize('epoch, window', [(3, 1), (5, 3), (4, 2)])
def test_bands_within_the_separation_are_exact(strategy, epoch, window):
    schedule = participation_lib.ParticipationSchedule(epoch, window)
    for rounds in (1, 4, 12):
        expected = brute_force(strategy, schedule, rounds)
        np.testing.assert_allclose(sensitivity.squared(strategy, schedule, rounds), expected)
    # Far from the last round: sqrt(k) ||c||.
    np.testing.assert_allclose(
        sensitivity.squared(strategy, schedule, 2 * epoch + 3), 3 * np.sum(strategy**2)
    )


@pytest.mark.parametrize('epoch', [2, 3, 4])
def test_decreasing_strategies_have_the_worst_pattern_of_least_differences(epoch):
    """Kalinin and Lampert's theorem, by enumeration of all separated patterns."""
    rounds, matrix = 10, series.matrix(DECREASING, 10)
    worst = 0.0
    for size in range(1, -(-rounds // epoch) + 1):
        for pattern in itertools.combinations(range(rounds), size):
            if all(b - a >= epoch for a, b in itertools.pairwise(pattern)):
                worst = max(worst, np.sum(matrix[:, pattern].sum(axis=1) ** 2))
    schedule = participation_lib.ParticipationSchedule(epoch)
    np.testing.assert_allclose(sensitivity.squared(DECREASING, schedule, rounds), worst)


def test_directions_of_updates_gain_nothing():
    rng = np.random.default_rng(3)
    schedule = participation_lib.ParticipationSchedule(3, 2)
    for strategy in (DECREASING, NONNEGATIVE, SIGNED):
        bound = sensitivity.squared(strategy, schedule, 8)
        matrix = series.matrix(strategy, 8)
        for pattern in patterns(schedule, 8):
            updates = rng.normal(size=(50, len(pattern), 3))
            updates /= np.linalg.norm(updates, axis=-1, keepdims=True)
            moved = matrix[:, pattern] @ updates
            assert np.max(np.sum(moved**2, axis=(1, 2))) <= bound * (1 + 1e-12)


@pytest.mark.parametrize('window', [1, 3])
@pytest.mark.parametrize('strategy', [DECREASING, NONNEGATIVE, SIGNED])
def test_never_falls_with_rounds(strategy, window):
    schedule = participation_lib.ParticipationSchedule(4, window)
    costs = [sensitivity.squared(strategy, schedule, rounds) for rounds in range(25)]
    assert costs[0] == 0
    np.testing.assert_array_less(-1e-12, np.diff(costs))


def test_one_band_is_independent_noise():
    schedule = participation_lib.ParticipationSchedule(7, 3)
    assert sensitivity.squared(np.ones(1), schedule, 30) == schedule.most(30)


def test_a_strategy_with_more_bands_than_separation_costs_more():
    """The fault that the check of `banded.optimal` is for."""
    workload = workload_lib.Workload(30, 0.9)
    schedule = participation_lib.ParticipationSchedule(5)
    column = banded.optimal(workload, participation_lib.ParticipationSchedule(10), 10).column(
        30
    )
    assert sensitivity.squared(column, schedule, 30) > 1.5 * 6 * np.sum(column**2)
    with pytest.raises(ValueError, match='bands=10: expected at most 5'):
        banded.optimal(workload, schedule, 10)


@pytest.mark.parametrize('epoch, window', [(4, 1), (1, 1), (5, 2), (30, 1)])
def test_gradient_of_the_earliest_pattern(epoch, window):
    schedule = participation_lib.ParticipationSchedule(epoch, window)
    column = np.random.default_rng(1).normal(size=14)
    value, gradient = sensitivity.leading_pattern(column, schedule)
    for index in range(14):
        step = np.zeros(14)
        step[index] = 1e-6
        moved = sensitivity.leading_pattern(column + step, schedule)[0]
        np.testing.assert_allclose((moved - value) / 1e-6, gradient[index], atol=1e-4)

"""Correlated noise in integers: post-processing of the accounted mechanism, to the bit."""

from fractions import Fraction
import math

import mpmath
import numpy as np
import pytest

from dp_fedemb.aggregation import combined_gaussian
from dp_fedemb.aggregation import correlated_noise
from dp_fedemb.privacy.factorization import series
from dp_fedemb.privacy.factorization import strategy as strategy_lib

ROUNDS, SIZE, STDDEV = 12, 40, 1000.25
STRATEGIES = {
    'banded': strategy_lib.Strategy((1.0, 0.953125, 0.5, 0.25), (1.0,)),
    'inverse': strategy_lib.Strategy((1.0,), (1.0, -0.9, 0.05, -0.02)),
    'both': strategy_lib.Strategy((1.0, -0.25, 0.015625), (1.0, -1.2, 0.3)),
    'independent': strategy_lib.Strategy((1.0,), (1.0,)),
}
STILL = [0] * ROUNDS


@pytest.fixture(params=STRATEGIES)
def strategy(request):
    return STRATEGIES[request.param]


class Keys:
    """Keys of rounds and attempts, and which were asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, name):
        self.asked.append(name)
        return bytes(name) * 16


def make(strategy, keys=None, size=SIZE):
    return correlated_noise.CorrelatedNoise(strategy, STDDEV, size, keys or Keys())


def exact_normals(attempts=STILL):
    """[rounds][size] normals with 400 bits."""
    normals = [
        combined_gaussian.Normals(Keys()((number, attempt)), SIZE)
        for number, attempt in enumerate(attempts)
    ]
    return [[each.exact(index, 400, 4) for index in range(SIZE)] for each in normals]


def released_from_accounted(strategy, sums, attempts=STILL):
    """The releases, computed from C S + Z alone as the module's docstring says.

    Everything in rational numbers and 400 bits: no noise is taken out of it.
    """
    columns = [Fraction(0)] * ROUNDS  # Of C.
    for number in range(ROUNDS):
        value = Fraction(
            strategy.numerator[number] if number < len(strategy.numerator) else 0.0
        )
        for lag in range(1, min(number, len(strategy.denominator) - 1) + 1):
            value -= Fraction(strategy.denominator[lag]) * columns[number - lag]
        columns[number] = value
    unit = 2**strategy_lib.FRACTION_BITS if len(strategy.numerator) > 1 else 1
    releases = np.zeros([ROUNDS, SIZE], object)
    with mpmath.workprec(400):
        real = lambda value: mpmath.mpf(value.numerator) / value.denominator
        drawn = exact_normals(attempts)
        for index in range(SIZE):
            accounted = [
                sum(real(columns[lag]) * int(sums[t - lag, index]) for lag in range(t + 1))
                + STDDEV * drawn[t][index]
                for t in range(ROUNDS)
            ]
            for t in range(ROUNDS):
                sum_of_q = sum(
                    mpmath.mpf(weight) * accounted[t - lag]
                    for lag, weight in enumerate(strategy.denominator[: t + 1])
                )
                fine = Fraction(int(mpmath.nint(sum_of_q * unit)), unit)
                for lag, weight in enumerate(strategy.numerator[1 : t + 1], start=1):
                    fine -= Fraction(weight) * releases[t - lag, index]
                releases[t, index] = math.floor(fine + Fraction(1, 2))
    return releases.astype(np.int64)


def test_releases_are_a_function_of_what_is_accounted(strategy):
    """Sums plus noise, against releases made from C S + Z without knowing either."""
    sums = np.random.default_rng(1).integers(-(10**6), 10**6, [ROUNDS, SIZE])
    noise = make(strategy)
    releases = np.array([sums[t] + noise.noise(t, STILL) for t in range(ROUNDS)])
    np.testing.assert_array_equal(releases, released_from_accounted(strategy, sums))


def test_rounding_before_the_sum_would_not_be_one(monkeypatch):
    """The same, with the noise of the recurrence rounded to whole units too early."""
    monkeypatch.setattr(
        combined_gaussian.CombinedDraws,
        'draw',
        lambda self, names, weights, stddev, draw=combined_gaussian.CombinedDraws.draw: (
            (draw(self, names, weights, stddev) + 32) // 64 * 64
        ),
    )
    sums = np.random.default_rng(1).integers(-(10**6), 10**6, [ROUNDS, SIZE])
    noise = make(STRATEGIES['banded'])
    releases = np.array([sums[t] + noise.noise(t, STILL) for t in range(ROUNDS)])
    expected = released_from_accounted(STRATEGIES['banded'], sums)
    assert np.mean(releases != expected) > 0.1


def test_noise_is_the_inverse_strategy_times_the_draws(strategy):
    found = make(strategy)
    rows = np.array([found.noise(t, STILL) for t in range(ROUNDS)])
    normals = [combined_gaussian.Normals(Keys()((t, 0)), SIZE).values for t in range(ROUNDS)]
    expected = series.matrix(strategy.noise(ROUNDS), ROUNDS) @ np.array(normals) * STDDEV
    # Every round is rounded once, and what that moves runs on in the later ones.
    assert np.abs(rows - expected).max() < 0.5 * np.abs(strategy.noise(ROUNDS)).sum() + 1


def test_any_round_at_any_time_is_the_same(strategy):
    through = make(strategy)
    rows = [through.noise(t, STILL).copy() for t in range(ROUNDS)]
    for order in ([9], [5, 5, 6], [3, 11], [7, 2, 3]):
        fresh = make(strategy)
        for number in order:
            np.testing.assert_array_equal(fresh.noise(number, STILL), rows[number])


def test_going_on_draws_once_a_round(strategy):
    keys = Keys()
    found = make(strategy, keys)
    for number in range(ROUNDS):
        found.noise(number, STILL)
    assert keys.asked == [(number, 0) for number in range(ROUNDS)]


def test_a_restart_without_past_noise_draws_only_the_last_rounds():
    keys = Keys()
    make(STRATEGIES['inverse'], keys).noise(10, STILL)
    assert sorted(keys.asked) == [(7, 0), (8, 0), (9, 0), (10, 0)]


def test_another_attempt_is_fresh_noise_from_its_round_on(strategy):
    again = [0, 0, 0, 1, *[0] * 8]
    sums = np.zeros([ROUNDS, SIZE], np.int64)
    found = make(strategy)
    before = [found.noise(t, STILL).copy() for t in range(5)]
    # Computed again after it was used already, in the same process.
    after = [found.noise(t, again).copy() for t in range(ROUNDS)]
    np.testing.assert_array_equal(before[:3], after[:3])
    assert np.mean(before[3] == after[3]) < 0.1
    np.testing.assert_array_equal(after, released_from_accounted(strategy, sums, again))


def test_rounds_beyond_the_attempts_are_first_attempts(strategy):
    np.testing.assert_array_equal(
        make(strategy).noise(8, STILL), make(strategy).noise(8, STILL[:4])
    )


def test_vectors_longer_than_a_piece(strategy):
    long = make(strategy, size=40_000)
    short = make(strategy, size=100)
    for number in range(4):
        np.testing.assert_array_equal(
            long.noise(number, STILL)[:100], short.noise(number, STILL)
        )

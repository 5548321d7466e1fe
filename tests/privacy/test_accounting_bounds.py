"""Bounds hold, and grow and fall as they must, over wide ranges; all else is refused."""

import math

import mpmath
import numpy as np
import pytest

from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import analysis
from dp_fedemb.privacy.accounting import composition

KINDS = sorted(analysis.KINDS)


def _sampled(kind, ratio, probability, rounds):
    return analysis.SampledGaussian(kind, ratio, probability, rounds)


def _exact_gaussian_delta(mu, epsilon):
    """Balle and Wang (2018), Theorem 8, in 400 digits."""
    with mpmath.workdps(400):
        mu, epsilon = mpmath.mpf(mu), mpmath.mpf(epsilon)
        root = mpmath.sqrt(2)
        first = mpmath.erfc((epsilon / mu - mu / 2) / root) / 2
        second = mpmath.erfc((epsilon / mu + mu / 2) / root) / 2
        return first - mpmath.exp(epsilon) * second


# Names of golden figures: absent or present, replaced, and slots' sensitivity of 2.
@pytest.mark.parametrize(
    'users, cohort, size, z, rounds, absent, replaced, slots',
    [
        (3_400, 32, 8, 0.62, 200, 17.570, 22.945, 104.9),
        (10_000, 32, 8, 0.62, 200, 7.170, 8.358, 50.3),
        (40_000, 400, 2, 1.07669, 100, 1.207, 1.641, 8.00),
        (1_000_000, 32, 8, 0.62, 200, 0.548, 0.549, 10.8),
        (100_000, 128, 8, 2.48, 200, 0.230, 0.439, 0.635),
    ],
)
def test_golden_figures(users, cohort, size, z, rounds, absent, replaced, slots):
    """Another PLD's, losses rounded up to a grid of 4e-6, figures rounded.

    Its grid adds about 2e-6 a round to epsilon; the last digit is half a unit uncertain.
    """
    q, delta = cohort * size / users, users**-1.1
    for kind, ratio, golden in (
        ('add_or_remove', z, absent),
        ('replaced', z, replaced),
        ('add_or_remove', z / 2, slots),
    ):
        epsilon = accounting.epsilon(_sampled(kind, ratio, q, rounds), delta)
        digits = 1 if golden > 10 and kind != 'replaced' and golden == slots else 3
        rounded = 0.5 * 10**-digits
        assert golden * 0.999 - 2e-6 * rounds - rounded < epsilon < golden * 1.005 + rounded


def test_gaussians_are_exact_and_never_below():
    generator = np.random.default_rng(1)
    for _ in range(300):
        ratio = 10 ** generator.uniform(-3, 4)
        rounds = int(10 ** generator.uniform(0, 6))
        delta = 10 ** -generator.uniform(0.31, 300)
        kind = KINDS[generator.integers(3)]
        epsilon = accounting.epsilon(_sampled(kind, ratio, 1.0, rounds), delta)
        mu = (2 if kind == 'replaced' else 1) * math.sqrt(rounds) / ratio
        exact = _exact_gaussian_delta(mu, epsilon)
        assert exact <= delta
        if epsilon:
            # As close below as float64 allows.
            assert _exact_gaussian_delta(mu, epsilon * (1 - 1e-9)) > delta * (1 - 1e-12)
        at_least = accounting.delta(_sampled(kind, ratio, 1.0, rounds), epsilon)
        assert at_least >= exact


def _plans(count, seed):
    generator = np.random.default_rng(seed)
    for _ in range(count):
        yield (
            KINDS[generator.integers(3)],
            10 ** generator.uniform(-3, 4),
            10 ** generator.uniform(-8, 0),
            int(10 ** generator.uniform(0, 6)),
            10 ** -generator.uniform(0.31, 12) if generator.random() < 0.5
            else 10 ** -generator.uniform(0.31, 300),
        )  # fmt: skip


@pytest.mark.parametrize('seed', range(3))
def test_at_most_renyi_and_at_most_without_sampling(seed):
    for kind, ratio, q, rounds, delta in _plans(25, seed):
        one = _sampled(kind, ratio, q, rounds)
        epsilon = accounting.epsilon(one, delta)
        assert math.isfinite(epsilon)
        assert 0 <= epsilon <= accounting.epsilon(one, delta, 'rdp')
        everybody = accounting.epsilon(_sampled(kind, ratio, 1.0, rounds), delta)
        assert epsilon <= everybody * (1 + 1e-4) + 1e-9


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('accountant', accounting.ACCOUNTANTS)
def test_monotone(seed, accountant):
    """More rounds, less noise, more users a round or less delta never cost less.

    The grid follows the plan, so that bounds that hardly differ may be the other way
    round by what it adds, some 1e-5.
    """
    for kind, ratio, q, rounds, delta in _plans(15, 100 + seed):
        least = accounting.epsilon(_sampled(kind, ratio, q, rounds), delta, accountant)
        for worse, its_delta in (
            (_sampled(kind, ratio, q, rounds), max(delta / 7, 1e-300)),
            (_sampled(kind, ratio / 1.1, q, rounds), delta),
            (_sampled(kind, ratio, min(q * 1.1, 1.0), rounds), delta),
            (_sampled(kind, ratio, q, rounds + 1 + rounds // 10), delta),
        ):
            more = accounting.epsilon(worse, its_delta, accountant)
            assert more >= least * (1 - 1e-4) - 1e-9, (worse, its_delta, least, more)


def test_delta_and_epsilon_are_inverse():
    for kind, ratio, q, rounds, delta in _plans(400, 5):
        if not (0.3 < ratio < 30 and q > 1e-3 and rounds < 3000 and delta > 1e-12):
            continue
        one = _sampled(kind, ratio, q, rounds)
        epsilon = accounting.epsilon(one, delta)
        if epsilon:
            assert accounting.delta(one, epsilon) == pytest.approx(delta, rel=2e-3)


@pytest.mark.parametrize(
    'value', [math.nan, math.inf, -math.inf, -1, 0, '1', None, True, 1j, []]
)
@pytest.mark.parametrize('name', ['ratio', 'probability', 'rounds', 'delta', 'epsilon'])
def test_only_value_errors(name, value):
    """Also around the checks of the analyses themselves."""
    arguments = {'ratio': 1.0, 'probability': 0.1, 'rounds': 10}
    one = _sampled('replaced', **arguments)
    if name in arguments:
        if (name, value) == ('rounds', 0):
            return
        if value not in (True, math.inf):
            with pytest.raises(ValueError, match=name):
                _sampled('replaced', **{**arguments, name: value})
        object.__setattr__(one, name, value)
    with pytest.raises(ValueError, match=name) as error:
        if name == 'epsilon':
            if value == 0 and value is not False:
                value = -1.0
            accounting.delta(one, value)
        else:
            accounting.epsilon(one, value if name == 'delta' else 1e-5)
    assert '\n' not in str(error.value)


def test_rounding_error_of_the_transform_is_within_its_bound():
    """Against sums in exact integers, for masses of many sizes and sums near 1."""
    generator = np.random.default_rng(2)
    for _ in range(20):
        size, count = int(generator.integers(2, 40)), int(generator.integers(2, 60))
        points = 1 << (size * count).bit_length()
        masses = generator.random(size) ** generator.integers(1, 30)
        masses /= masses.sum()
        # Floats are integers over a power of two.
        unit = 2**60
        whole = [round(mass * unit) for mass in masses]
        masses = np.array(whole) / unit
        exact = [1]
        for _ in range(count):
            longer = [0] * (len(exact) + size - 1)
            for i, a in enumerate(exact):
                for j, b in enumerate(whole):
                    longer[i + j] += a * b
            exact = longer
        transform = np.fft.rfft(masses, points)
        power = composition._power(transform, count)
        found = np.fft.irfft(power, points)[: len(exact)]
        error = max(abs(float(a / unit**count) - b) for a, b in zip(exact, found))
        bound = composition._error(masses, transform, power, points, count)
        assert 0 < error < bound < 1e-9

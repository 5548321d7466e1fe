"""The pair that dominates a replaced user in whole groups, against other computations.

docs/privacy.md proves it. Here it is held against random updates in two and three
dimensions by quadrature, and its composition against a privacy loss distribution that
is written anew, in a way that shares nothing with the accountant.
"""

import math

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy import optimize
from scipy import special

from dp_fedemb import privacy
from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import analysis

GROUPED = privacy.Poisson()


def _divergence_of_the_pair(alpha, sigma, q):
    """H_alpha of the antipodal pair of (C = 1, -1) from its best half-space."""

    def of_half_space(t):
        zero, plus, minus = (special.ndtr((shift - t) / sigma) for shift in (0, 1, -1))
        return (1 - q) * (1 - alpha) * zero + q * plus - alpha * q * minus

    grid = np.linspace(-30 * sigma - 1, 30 * sigma + 1, 4001)
    values = of_half_space(grid)
    around = grid[max(np.argmax(values) - 1, 0)], grid[min(np.argmax(values) + 1, 4000)]
    best = optimize.minimize_scalar(
        lambda t: -of_half_space(t), bounds=around, method='bounded'
    )
    return max(-best.fun, values.max(), 1 - alpha, 0.0)


def _points(dimensions, sigma, count):
    """Midpoints of a product grid that holds all but 1e-10 of the mass, and their volume."""
    line, step = np.linspace(-1 - 7 * sigma, 1 + 7 * sigma, count, retstep=True)
    return np.stack(np.meshgrid(*[line] * dimensions, indexing='ij'), -1), step**dimensions


def _density(x, mean, sigma):
    squares = np.sum((x - mean) ** 2, axis=-1)
    return np.exp(-squares / (2 * sigma**2)) / (2 * math.pi * sigma**2) ** (x.shape[-1] / 2)


def _divergence(alpha, sigma, q, v, w):
    """H_alpha of the mixtures with v and with w, by quadrature over the whole space."""
    x, volume = _points(len(v), sigma, 240 if len(v) == 2 else 70)
    zero = (1 - q) * _density(x, np.zeros(len(v)), sigma)
    p = zero + q * _density(x, v, sigma)
    other = zero + q * _density(x, w, sigma)
    return float(np.sum(np.maximum(p - alpha * other, 0)) * volume)


@pytest.mark.parametrize('dimensions', [2, 3])
@hypothesis.settings(max_examples=25)
@hypothesis.given(data=st.data())
def test_no_two_updates_are_worse_than_the_antipodal_pair(dimensions, data):
    sigma, q = data.draw(st.floats(0.5, 2.0)), data.draw(st.floats(0.02, 1.0))
    alpha = math.exp(data.draw(st.floats(-1.5, 1.5)))
    seed = data.draw(st.integers(0, 10**6))
    v, w = np.random.default_rng(seed).normal(size=(2, dimensions))
    # Half of them as long as clipping allows.
    for vector in (v, w):
        norm = np.linalg.norm(vector)
        vector /= norm if seed % 2 else max(norm, 1.0)
    bound = _divergence_of_the_pair(alpha, sigma, q)
    assert _divergence(alpha, sigma, q, v, w) <= bound + 2e-6
    # The void: the group is not there at all.
    assert _divergence(alpha, sigma, q, v, np.zeros(dimensions)) <= bound + 2e-6


@pytest.mark.parametrize('dimensions', [2, 3])
@pytest.mark.parametrize('alpha', [0.5, 1.0, 2.5])
def test_the_antipodal_pair_is_reached(dimensions, alpha):
    """So the bound is not just large: opposite updates of full length attain it."""
    v = np.ones(dimensions) / math.sqrt(dimensions)
    bound = _divergence_of_the_pair(alpha, 0.8, 0.3)
    assert _divergence(alpha, 0.8, 0.3, v, -v) == pytest.approx(
        bound, abs=1e-4 if dimensions == 2 else 2e-3
    )
    # And the faults that are common would be found: one sensitivity for two.
    assert bound > 1.3 * _divergence(alpha, 0.8, 0.3, v, 0 * v) or alpha < 1


def test_a_round_of_the_accountant_is_the_pair():
    sigma, q = 0.7, 0.15
    one = analysis.SampledGaussian('replaced', sigma, q, 1)
    for delta in (1e-2, 1e-4, 1e-6):
        epsilon = accounting.epsilon(one, delta)
        assert _divergence_of_the_pair(math.exp(epsilon), sigma, q) <= delta * (1 + 1e-6)
        less = _divergence_of_the_pair(math.exp(epsilon * 0.997), sigma, q)
        assert less > delta


def _solve(losses, masses, delta):
    """Epsilon at which point masses of the loss have this delta."""

    def excess(epsilon):
        above = losses > epsilon
        return float(np.sum(masses[above] * -np.expm1(epsilon - losses[above]))) - delta

    return optimize.brentq(excess, 0, losses[-1], xtol=1e-6)


def _second_epsilon(sigma, q, rounds, delta, step=2e-4):
    """Epsilon by losses of the pair rounded down and up to a grid, composed by squaring.

    Sampled on the line of the sum (x), not on that of the loss, in two million cells.
    """
    cells = 2_000_001
    x = np.linspace(-1 - 12 * sigma, 1 + 12 * sigma, cells)
    middle = (x[1:] + x[:-1]) / 2
    log_n = lambda shift: -((middle - shift) ** 2) / (2 * sigma**2)
    ratio = np.logaddexp(np.log1p(-q) + log_n(0), math.log(q) + log_n(1)) - np.logaddexp(
        np.log1p(-q) + log_n(0), math.log(q) + log_n(-1)
    )
    cdf = (1 - q) * special.ndtr(x / sigma) + q * special.ndtr((x - 1) / sigma)
    mass = np.diff(cdf)
    found = []
    for rounding in (np.floor, np.ceil):
        index = rounding(ratio / step).astype(int)
        low = index.min()
        pmf = np.bincount(index - low, weights=mass)
        size = 1 << math.ceil(math.log2(len(pmf) * min(rounds, 64)))
        # The composed loss stays within the window of 64 rounds' range, wrapped around.
        transform = np.fft.rfft(pmf, size) ** rounds
        total = np.maximum(np.fft.irfft(transform, size), 0)
        mean = rounds * float(np.sum(pmf * (np.arange(len(pmf)) + low)))
        offset = round(mean) - size // 2
        where = (np.arange(size) + offset - rounds * low) % size
        losses, masses = (np.arange(size) + offset) * step, total[where]
        found.append(_solve(losses, masses, delta))
    return found


@pytest.mark.parametrize(
    'sigma, q, rounds, delta',
    [(0.8, 0.05, 30, 1e-5), (1.5, 0.3, 50, 1e-4), (3.0, 0.02, 200, 1e-6)],
)
def test_composition_lies_between_roundings_of_a_second_computation(sigma, q, rounds, delta):
    low, high = _second_epsilon(sigma, q, rounds, delta)
    ours = accounting.epsilon(analysis.SampledGaussian('replaced', sigma, q, rounds), delta)
    assert low <= ours * (1 + 1e-4) and ours <= high * 1.001
    assert high - low < 0.05 * high + 2e-2


@pytest.mark.parametrize('unit, factor', [('user', 2), ('present_absent', 1)])
def test_simulated_users_are_within_the_bound(unit, factor):
    """A real sampler's cohorts, noise added: what the loss of one user exceeds epsilon by."""
    plan = privacy.PrivacyPlan(60, 4, 3, 6, privacy.Gaussian(1.0, 0.9), GROUPED, delta=1e-2)
    epsilon, q = plan.epsilon(unit=unit), plan.sampling_probability
    generator = np.random.default_rng(3)
    joined = np.zeros((2000, 6))
    for run_num in range(2000):
        run = privacy.PrivateRun(plan, run_num)
        for round_num in range(6):
            joined[run_num, round_num] = any(7 in u for u in run.cohort(round_num).users)
    assert joined.mean() == pytest.approx(q, abs=4 * math.sqrt(q / joined.size))
    joined = np.repeat(joined, 60, axis=0)
    x = joined + 0.9 * generator.standard_normal(joined.shape)
    log_n = lambda shift: -((x - shift) ** 2) / (2 * 0.9**2)
    mixture = lambda shift: np.logaddexp(np.log1p(-q) + log_n(0), np.log(q) + log_n(shift))
    other = mixture(-1) if factor == 2 else log_n(0)
    loss = (mixture(1) - other).sum(axis=1)
    found = np.mean(-np.expm1(np.minimum(epsilon - loss, 0)))
    assert 0.5 * plan.guarantee_delta < found < 1.1 * plan.guarantee_delta

"""Accountants against computations of our own, and the speed that training relies on."""

import math
import time

import numpy as np
import pytest
from scipy import integrate
from scipy import signal
from scipy import stats

from dp_fedemb import privacy
from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import analysis
from dp_fedemb.privacy.accounting import rounds
from dp_fedemb.privacy.accounting import windows

RATIO, Q = 0.9, 0.15


def _poisson(ratio=RATIO, q=Q, count=1):
    return analysis.SampledGaussian('add_or_remove', ratio, q, count)


def _fixed_size(ratio=RATIO, q=Q, count=1):
    return analysis.SampledGaussian('without_replacement', ratio, q, count)


def _hockey_stick(epsilon, p, q):
    """Integral of (p - e^epsilon q)+ over the line, by quadrature."""
    value, _ = integrate.quad(
        lambda x: max(p(x) - math.exp(epsilon) * q(x), 0.0), -15, 15, limit=2000
    )
    return value


def _mixture(ratio, q, *shifts):
    return lambda x: (
        (1 - q) * stats.norm.pdf(x, 0, ratio)
        + q * np.mean([stats.norm.pdf(x, shift, ratio) for shift in shifts])
    )


@pytest.mark.parametrize('delta', [1e-2, 1e-4])
def test_one_poisson_round_is_exact(delta):
    epsilon = accounting.epsilon(_poisson(), delta)
    absent = _mixture(RATIO, Q, 0.0)
    present = _mixture(RATIO, Q, 1.0)
    removed = _hockey_stick(epsilon, present, absent)
    added = _hockey_stick(epsilon, absent, present)
    assert max(removed, added) == pytest.approx(delta, rel=2e-3)


@pytest.mark.parametrize('delta', [1e-2, 1e-4])
def test_one_fixed_size_round_is_the_theorem(delta):
    """Balle et al. (2018), Theorem 9: q H at 1 + q (a - 1), sensitivity of one."""
    epsilon = accounting.epsilon(_fixed_size(), delta)
    base = math.log1p((math.exp(epsilon) - 1) / Q)
    one, other = _mixture(RATIO, 1.0, 1.0), _mixture(RATIO, 1.0, 0.0)
    assert Q * _hockey_stick(base, one, other) == pytest.approx(delta, rel=2e-3)


def _compose(losses, probabilities, step, count, epsilon):
    """Delta of a privacy loss composed with itself, on a grid, by direct convolution."""
    total = probabilities
    for _ in range(count - 1):
        total = signal.fftconvolve(total, probabilities)
    loss = count * losses[0] + step * np.arange(len(total))
    above = loss > epsilon
    return float(np.sum(total[above] * -np.expm1(epsilon - loss[above])))


def _bounds(tail, step, count, epsilon, span=14.0):
    """Delta from above and below: losses of P(loss > x) = tail(x) rounded up and down."""
    edges = step * np.arange(-round(span / step), round(span / step) + 1)
    mass = -np.diff(tail(edges))
    mass[0] += 1 - tail(edges[0])
    mass[-1] += tail(edges[-1])
    return [_compose(grid, mass, step, count, epsilon) for grid in (edges[1:], edges[:-1])]


def _mixture_loss_above(loss, ratio, q, shifted):
    """P(log(mixture / N(0)) > loss) under the mixture, or under N(0)."""
    inner = np.maximum(np.expm1(loss) / q + 1, 1e-300)
    threshold = 0.5 + ratio**2 * np.log(inner)
    under_zero = stats.norm.sf(threshold / ratio)
    if not shifted:
        return under_zero
    return (1 - q) * under_zero + q * stats.norm.sf((threshold - 1) / ratio)


def test_poisson_composition_lies_between_roundings_of_its_own_loss():
    count, delta = 12, 1e-5
    epsilon = accounting.epsilon(_poisson(count=count), delta)
    above, below = _bounds(
        lambda loss: _mixture_loss_above(loss, RATIO, Q, True), 1e-3, count, epsilon
    )
    assert below < delta * (1 + 1e-3) and delta < above
    assert above / below < 1.2


def test_fixed_size_composition_lies_between_roundings_of_its_own_loss():
    """The pair: above 0 the loss of mixture against N(0), below 0 that of the reverse."""

    def tail(loss):
        reverse = 1 - _mixture_loss_above(-loss, RATIO, Q, False)
        return np.where(loss >= 0, _mixture_loss_above(loss, RATIO, Q, True), reverse)

    count, delta = 12, 1e-5
    epsilon = accounting.epsilon(_fixed_size(count=count), delta)
    above, below = _bounds(tail, 1e-3, count, epsilon)
    assert below < delta * (1 + 1e-3) and delta < above
    assert above / below < 1.2


def test_rounds_of_fixed_size_cost_at_least_what_simulation_finds():
    """All users send -C, but one that sends +C or, its neighbour, -C, too.

    Sum and noise over the sensitivity 2C: a shift by 1 in the rounds that sample the
    user. The delta of that instance, by Monte Carlo, must not exceed ours, nor be far.
    """
    count, delta = 8, 1e-2
    epsilon = accounting.epsilon(_fixed_size(count=count), delta)
    generator = np.random.default_rng(7)
    sampled = generator.random((200_000, count)) < Q
    x = sampled + RATIO * generator.standard_normal(sampled.shape)
    with_user = (1 - Q) * stats.norm.pdf(x, 0, RATIO) + Q * stats.norm.pdf(x, 1, RATIO)
    loss = np.log(with_user / stats.norm.pdf(x, 0, RATIO)).sum(axis=1)
    found = np.mean(-np.expm1(np.minimum(epsilon - loss, 0)))
    assert 0.5 * delta < found < delta


@pytest.mark.parametrize('make', [_poisson, _fixed_size])
@pytest.mark.parametrize('ratio', [0.31, 1.24, 5.0])
def test_rdp_is_never_below_pld(make, ratio):
    for count in (1, 300):
        event = make(ratio, 0.05, count)
        assert accounting.epsilon(event, 1e-5, 'rdp') >= accounting.epsilon(event, 1e-5)


def test_sampling_everybody_is_the_gaussian():
    plain = accounting.epsilon(analysis.Gaussian(0.7), 1e-5)
    assert accounting.epsilon(_poisson(0.7, 1.0), 1e-5) == pytest.approx(plain, rel=1e-3)
    assert accounting.epsilon(_fixed_size(0.7, 1.0), 1e-5) == pytest.approx(plain, rel=1e-3)
    # The RDP accountant must take the noise as being over the sensitivity: with q = 1 it
    # differs from the plain Gaussian by its bound on sampling at most, not by doubling.
    rdp = accounting.epsilon(analysis.Gaussian(0.7), 1e-5, 'rdp')
    assert accounting.epsilon(_fixed_size(0.7, 1.0), 1e-5, 'rdp') <= 1.3 * rdp


@pytest.mark.parametrize('make', [_poisson, _fixed_size])
@pytest.mark.parametrize('ratio, q, count', [(0.31, 0.07, 200), (1.24, 0.01, 2000)])
def test_grid_is_fine_enough(monkeypatch, make, ratio, q, count):
    coarse = accounting.epsilon(make(ratio, q, count), 1e-5)
    monkeypatch.setattr(windows, '_PRECISION', windows._PRECISION / 30)
    rounds.epsilon.cache_clear()
    fine = accounting.epsilon(make(ratio, q, count), 1e-5)
    rounds.epsilon.cache_clear()
    assert fine < coarse <= fine * (1 + 2e-5)


def test_small_delta_is_not_lost_in_truncated_tails():
    """1e-15, what dp-accounting cuts off, is not below every delta that is asked for."""
    epsilons = [accounting.epsilon(_poisson(2.0, 0.01, 100), 10.0**-d) for d in (12, 14, 15)]
    assert all(math.isfinite(e) for e in epsilons)
    assert epsilons == sorted(epsilons)


def test_unknown_accountant_is_refused():
    with pytest.raises(ValueError, match="accountant='moments': expected one of pld, rdp"):
        accounting.epsilon(_poisson(), 1e-5, 'moments')


@pytest.mark.parametrize(
    'mechanism, sampling',
    [
        (privacy.Gaussian(1.0, 0.62), privacy.Poisson()),
        (privacy.Gaussian(1.0, 0.62), privacy.FixedSize()),
        (privacy.Tree(1.0, 4.0, restart_rounds=60), privacy.MinSeparation()),
    ],
)
def test_epsilon_of_every_round_is_cheap(make_plan, mechanism, sampling):
    """It is asked for in every round, for both units: milliseconds of computing."""
    plan = make_plan(
        mechanism,
        num_users=3400,
        virtual_clients_per_round=32,
        users_per_virtual_client=8,
        rounds=200,
        sampling=sampling,
    )
    plan.epsilon(1)
    rounds = range(150, 160)
    begin = time.process_time()
    for round_num in rounds:
        plan.epsilon(round_num)
    assert (time.process_time() - begin) / len(rounds) < 0.25

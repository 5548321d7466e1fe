"""Our accountant against a second one, and against the definition."""

import math

import numpy as np
import pytest

from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import analysis
from dp_fedemb.privacy.accounting import composition
from dp_fedemb.privacy.accounting import one_round
from dp_fedemb.privacy.accounting import windows
from tests.privacy import second_accountant

KINDS = sorted(analysis.KINDS)


def _plans(kind, count):
    generator = np.random.default_rng(KINDS.index(kind))
    while count:
        plan = analysis.SampledGaussian(
            kind,
            10 ** generator.uniform(-0.5, 0.8),
            10 ** generator.uniform(-3, 0) * 0.999,
            int(10 ** generator.uniform(0, 3.3)),
        )
        delta = 10 ** -generator.uniform(2, 12)
        epsilon = accounting.epsilon(plan, delta)
        if epsilon > 1e-3:
            count -= 1
            yield plan, delta, epsilon


@pytest.mark.parametrize('kind', KINDS)
def test_epsilons_of_random_plans_have_the_second_accountants_delta(kind):
    """200 plans: never more than delta, and at most 1% less.

    Some, of few rounds of rare users, are beyond the second accountant, which says so.
    """
    compared = 0
    for plan, delta, epsilon in _plans(kind, 67):
        numbers = plan.kind, plan.ratio, plan.probability, plan.rounds
        found, error = second_accountant.delta(*numbers, epsilon, delta)
        if error > 1e-3 * delta:
            continue
        compared += 1
        assert found - error <= delta * (1 + 1e-9), (plan, delta, found / delta)
        assert found + error >= delta * 0.99, (plan, delta, found / delta)
        by_renyi = second_accountant.renyi_epsilon(*numbers, delta)
        assert epsilon <= accounting.epsilon(plan, delta, 'rdp') <= by_renyi * 1.003
    assert compared >= 40


def _density(points, centre, ratio):
    squared = ((points - np.array(centre)) ** 2).sum(axis=-1)
    dimensions = points.shape[-1]
    return np.exp(-squared / (2 * ratio**2)) / (2 * np.pi * ratio**2) ** (dimensions / 2)


@pytest.mark.parametrize('dimensions, spacing, times', [(2, 0.12, 40), (3, 0.3, 15)])
def test_no_replacement_is_worse_than_the_antipodal_pair(dimensions, spacing, times):
    """Random v1, v2 in the unit ball: their hockey-stick divergence, by quadrature."""
    generator = np.random.default_rng(dimensions)
    for _ in range(times):
        ratio, q = 10 ** generator.uniform(-0.4, 0.4), generator.uniform(0.02, 0.98)
        line = np.arange(-1 - 6 * ratio, 1 + 6 * ratio, spacing * ratio)
        points = np.stack(np.meshgrid(*[line] * dimensions, indexing='ij'), axis=-1)
        volume = (spacing * ratio) ** dimensions
        moved = generator.standard_normal((2, dimensions))
        moved *= generator.random((2, 1)) ** 0.2 / np.linalg.norm(moved, axis=1)[:, None]
        antipodal = np.zeros((2, dimensions))
        antipodal[:, 0] = 1, -1
        epsilon = generator.uniform(0, 1.5) * q / ratio
        plain = (1 - q) * _density(points, np.zeros(dimensions), ratio)
        found = []
        for first, second in (moved, antipodal):
            p = plain + q * _density(points, first, ratio)
            other = plain + q * _density(points, second, ratio)
            found.append(np.maximum(p - math.exp(epsilon) * other, 0).sum() * volume)
        assert found[0] <= found[1] * (1 + 1e-3) + 1e-9
        one = analysis.SampledGaussian('replaced', ratio, q, 1)
        assert accounting.delta(one, epsilon) == pytest.approx(found[1], rel=0.02, abs=1e-6)


@pytest.mark.parametrize('direction', ['removed', 'added', 'replaced', 'without_replacement'])
def test_any_grid_reach_tilt_and_window_is_an_upper_bound(direction):
    """Of one round, whose delta is known: what is cut off is there, and nothing is lost."""
    generator = np.random.default_rng(3)
    kind = 'add_or_remove' if direction in ('removed', 'added') else direction
    close = 0
    for _ in range(150):
        ratio, q = 10 ** generator.uniform(-0.5, 0.5), generator.uniform(0.05, 0.95)
        deviations, step = generator.uniform(0.5, 8), 2.0 ** generator.integers(-9, -2)
        losses = one_round.on_grid(direction, ratio, q, step, deviations)
        most = float(losses.values[-1])
        tilt, top = 10 ** generator.uniform(-1, 1), most * generator.uniform(0.2, 1.5)
        rate = 10 ** generator.uniform(-1, 1)
        bottom = top - (30 * step if generator.random() < 0.5 else 4 * most)
        window = windows.Window(tilt, 0.1 * most, bottom, top, rate, 0.0)
        composed = composition.compose(losses, 1, window, -5.0)
        assert composed is not None
        epsilon = generator.uniform(0, 0.9) * min(most, top)
        exact = second_accountant.one_round(kind, ratio, q, epsilon)
        exact = exact[direction == 'added']
        found = math.exp(composed.log_delta(epsilon))
        assert found >= exact * (1 - 1e-12)
        close += found <= exact * 1.3
        if found < 1:
            assert composed.epsilon(math.log(found) + 1e-9) <= epsilon * (1 + 1e-6) + 1e-9
        log_target = math.log(generator.random())
        reached = composed.epsilon(log_target)
        if reached < 500:
            at_most = second_accountant.one_round(kind, ratio, q, reached)
            assert at_most[direction == 'added'] <= math.exp(log_target) * (1 + 1e-9)
    assert close > 20

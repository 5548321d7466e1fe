"""Our accountant against a second one, and against the definition."""

import math

import numpy as np
import pytest

from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import analysis
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

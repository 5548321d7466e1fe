"""Deployments with the same noise on the mean, and the figure of them."""

import dataclasses

import numpy as np
from PIL import Image
import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy.reporting import extrapolation
from dp_fedemb.privacy.reporting import extrapolation_figure


@pytest.fixture(scope='module')
def plan():
    return privacy.PrivacyPlan(1000, 8, 2, 16, privacy.Gaussian(0.5, 1.5))


@pytest.fixture(scope='module')
def points(plan):
    return extrapolation.points(plan, [100, 1000, 10_000], [8, 16, 64])


def test_points_keep_the_noise_to_signal_ratio(plan, points):
    ratios = {p.noise_multiplier / p.virtual_clients_per_round for p in points}
    assert ratios == {1.5 / 8}
    # 64 virtual clients of 2 users are more than 100 users.
    assert len(points) == 8
    assert min(p.num_users for p in points if p.virtual_clients_per_round == 64) == 1000


def test_points_are_what_their_own_plans_cost(plan, points):
    for point in points:
        own = privacy.PrivacyPlan(
            point.num_users,
            point.virtual_clients_per_round,
            2,
            16,
            privacy.Gaussian(0.5, point.noise_multiplier),
        )
        assert point.epsilon_user == privacy.rounded_up(own.epsilon())
        literature = own.epsilon(unit='virtual_client')
        assert point.epsilon_virtual_client == privacy.rounded_up(literature)
        assert point.delta == own.guarantee_delta


def test_larger_populations_and_cohorts_cost_less(points):
    of = {(p.num_users, p.virtual_clients_per_round): p.epsilon_user for p in points}
    assert of[100, 8] > of[1000, 8] > of[10_000, 8]
    assert of[1000, 8] > of[1000, 16] > of[1000, 64]


def test_a_point_is_what_noise_cohort_size_simulates(plan, points):
    """80,000 users and 64 virtual clients: as if from 10,000 users and 8."""
    scaled = extrapolation.scaled(plan, 80_000, 64)
    run = dataclasses.replace(
        plan, num_users=10_000, mechanism=scaled.mechanism, noise_cohort_size=64
    )
    assert run.epsilon() == scaled.epsilon()
    # And the run's noise is that of the plan that was extrapolated.
    assert run.noise_stddev == pytest.approx(plan.noise_stddev)


def test_users_needed_are_those_that_calibration_finds(plan):
    needed = extrapolation.users_needed(plan, [8, 64], 1.0)
    assert needed[8] == privacy.calibrate(plan, 1.0, 'num_users').num_users
    assert needed[64] < needed[8]
    fixed = dataclasses.replace(plan, delta=1e-4)
    assert extrapolation.users_needed(fixed, [8], 0.005) == {8: None}


def test_a_simulation_is_not_extrapolated_again(plan):
    simulated = dataclasses.replace(plan, noise_cohort_size=80)
    with pytest.raises(ValueError, match='noise_cohort_size=80: .* already'):
        extrapolation.scaled(simulated, 10_000, 16)


def test_figure_and_table_show_every_point(plan, points, tmp_path):
    path = tmp_path / 'plan.png'
    extrapolation_figure.draw(points, plan, 1.0, str(path))
    pixels = np.asarray(Image.open(path).convert('RGB'))
    assert pixels.shape[0] > 500 and pixels.shape[1] > 1000
    red = (pixels[..., 0] > 190) & (pixels[..., 1] < 60) & (pixels[..., 2] < 70)
    assert red.sum() > 1000, 'no line at the target'
    lines = extrapolation_figure.table(points).splitlines()
    assert len(lines) == 1 + len(points)
    assert '10,000' in lines[-1]

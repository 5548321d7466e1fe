"""The ratio of signal to noise, and the cohort for one that is wanted."""

import dataclasses
import math

import numpy as np
import pytest

from dp_fedemb.privacy.reporting import signal_to_noise

WEIGHTS = 47_000


def test_noise_norm_is_that_of_drawn_noise(make_plan):
    plan = make_plan('gaussian')
    noise = np.random.default_rng(1).normal(0, plan.noise_stddev, WEIGHTS)
    on_the_mean = np.linalg.norm(noise / plan.virtual_clients_per_round)
    assert signal_to_noise.noise_norm(plan, WEIGHTS) == pytest.approx(on_the_mean, rel=0.01)


def test_largest_signal_is_that_of_equal_clipped_updates(make_plan):
    plan = make_plan('gaussian')
    update = np.full(WEIGHTS, plan.mechanism.clip_norm / math.sqrt(WEIGHTS))
    mean = plan.virtual_clients_per_round * update / plan.virtual_clients_per_round
    expected = np.linalg.norm(mean) / signal_to_noise.noise_norm(plan, WEIGHTS)
    assert signal_to_noise.largest(plan, WEIGHTS) == pytest.approx(expected)
    assert expected == pytest.approx(8 / (1.5 * math.sqrt(WEIGHTS)))


def test_required_cohort_reaches_the_target_and_one_less_does_not(make_plan):
    plan = make_plan('gaussian')
    needed = signal_to_noise.required_cohort(plan, WEIGHTS, target=0.5)
    assert needed == math.ceil(0.5 * 1.5 * math.sqrt(WEIGHTS))

    def ratio(cohort):
        simulated = dataclasses.replace(plan, noise_cohort_size=cohort)
        return signal_to_noise.largest(simulated, WEIGHTS)

    assert ratio(needed) >= 0.5 > ratio(needed - 1)
    trained = dataclasses.replace(plan, num_users=10**6, virtual_clients_per_round=needed)
    assert signal_to_noise.largest(trained, WEIGHTS) == pytest.approx(ratio(needed))
    # What is there already is found again, in spite of rounding.
    here = signal_to_noise.largest(plan, WEIGHTS)
    assert signal_to_noise.required_cohort(plan, WEIGHTS, here) == 8


def test_adaptive_clip_has_the_larger_noise_of_its_sum(make_plan):
    plain, adaptive = make_plan('gaussian'), make_plan('adaptive_gaussian')
    assert signal_to_noise.largest(adaptive, 100) < signal_to_noise.largest(plain, 100)


def test_without_noise_the_ratio_is_infinite_and_no_cohort_is_needed(make_plan):
    plan = make_plan('clip_only')
    assert signal_to_noise.largest(plan, 10) == math.inf
    with pytest.raises(ValueError, match='without noise every cohort will do'):
        signal_to_noise.required_cohort(plan, 10, 0.5)


@pytest.mark.parametrize('weights, target', [(0, 1.0), (10, -1.0)])
def test_senseless_arguments_are_refused(make_plan, weights, target):
    with pytest.raises(ValueError, match='expected a number'):
        signal_to_noise.required_cohort(make_plan('gaussian'), weights, target)

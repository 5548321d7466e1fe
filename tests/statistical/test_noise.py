"""The noise is Gaussian of the claimed size: zero updates, so the output is the noise.

Every test of a size also rejects two thirds and three halves of it; one that cannot
is no evidence. Seeds are fixed, so nothing here is flaky.
"""

import dataclasses

import numpy as np
import pytest
from scipy import stats
import tensorflow as tf
import tensorflow_privacy as tfp

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.aggregation import sum_query

PRIVATE = sorted(name for name, cls in privacy.MECHANISMS.items() if cls.private)
SPECS = [tf.TensorSpec([150, 20]), tf.TensorSpec([1000])]


def noise_of_rounds(query, rounds=1, specs=SPECS):
    """Returns the mean updates released for zero sums, [rounds, coordinates]."""
    state = query.initial_global_state()
    zero = query.initial_sample_state(specs)
    results = []
    for _ in range(rounds):
        result, state, _ = query.get_noised_result(zero, state)
        results.append(np.concatenate([leaf.numpy().ravel() for leaf in result]))
    return np.array(results)


def check_size(samples, stddev):
    """Fails unless the samples are N(0, stddev^2) and can tell it from 2/3 and 3/2."""
    assert stats.kstest(samples, 'norm', (0, stddev)).pvalue > 1e-3
    for factor in (2 / 3, 3 / 2):
        assert stats.kstest(samples, 'norm', (0, factor * stddev)).pvalue < 1e-6


def first_round_stddev(plan):
    """z C / m with the noise multiplier of the sum; a tree's first round is one leaf."""
    mechanism = plan.mechanism
    over_clip = mechanism.sum_noise_multiplier * plan.noise_scale
    return over_clip * mechanism.clip_norm / plan.virtual_clients_per_round


@pytest.mark.parametrize('noise_cohort_size', [None, 32])
@pytest.mark.parametrize('name', PRIVATE)
def test_noise_has_the_claimed_size(name, noise_cohort_size, make_plan):
    plan = make_plan(name, noise_cohort_size=noise_cohort_size)
    samples = noise_of_rounds(aggregation.build_query(privacy.PrivateRun(plan, 17), SPECS))[0]
    check_size(samples, first_round_stddev(plan))
    np.testing.assert_allclose(plan.noise_stddev / 8, first_round_stddev(plan))


@pytest.mark.parametrize('name', ['gaussian', 'adaptive_gaussian'])
def test_rounds_coordinates_and_tensors_are_independent(name, make_plan):
    mechanism = make_plan(name).mechanism
    if name == 'adaptive_gaussian':
        # The norm stays, so that all rounds have the same size.
        mechanism = dataclasses.replace(mechanism, adaptive_clip_learning_rate=1e-9)
    plan = make_plan(mechanism)
    noise = noise_of_rounds(
        aggregation.build_query(privacy.PrivateRun(plan, 17), SPECS), rounds=12
    )
    check_size(noise.ravel(), first_round_stddev(plan))
    for lag in (1, 7):
        for one, other in (
            (noise[lag:], noise[:-lag]),  # Rounds.
            (noise[:, lag:], noise[:, :-lag]),  # Coordinates.
            (noise[:, :1000], noise[:, 3000:]),  # Tensors.
        ):
            correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
            assert abs(correlation) < 5 / np.sqrt(one.size)


@pytest.mark.parametrize('noise_cohort_size', [None, 32])
@pytest.mark.parametrize('name', ['adaptive_gaussian', 'tree_adaptive'])
def test_noise_of_the_count_has_the_claimed_size(name, noise_cohort_size, make_plan):
    mechanism = make_plan(name).mechanism
    if name == 'tree_adaptive':
        mechanism = dataclasses.replace(mechanism, restart_rounds=1)
    plan = make_plan(mechanism, noise_cohort_size=noise_cohort_size)
    query = aggregation.build_query(privacy.PrivateRun(plan, 23), SPECS)
    release = tf.function(query.get_noised_result)
    state = query.initial_global_state()
    zero = query.initial_sample_state([tf.TensorSpec([1])])
    clips = [0.5]
    for _ in range(1000):
        _, state, _ = release(zero, state)
        clips.append(float(state.numerator_state.clip_norm))
    # Nobody took part: each step is exp(-rate noise / m) with the target at 1/2.
    noise = -np.diff(np.log(clips)) / 0.2 * 8
    check_size(noise, mechanism.clipped_count_stddev * plan.noise_scale)
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 5 / np.sqrt(len(noise))


def scaled_noise(factor):
    """A fault: all noise is `factor` times the claimed size."""
    intact = sum_query.add_gaussian_noise

    def add(record, stddev, *args, **kwargs):
        return intact(record, stddev * factor, *args, **kwargs)

    return add


@pytest.mark.parametrize('name', ['gaussian', 'adaptive_gaussian'])
@pytest.mark.parametrize(
    'factor', [8.0, 1 / 8, 8**-0.5], ids=['on the mean', 'of the mean', 'over sqrt(m)']
)
def test_mutation_size_of_noise(name, factor, make_plan, monkeypatch):
    plan = make_plan(name)
    monkeypatch.setattr(sum_query, 'add_gaussian_noise', scaled_noise(factor))
    samples = noise_of_rounds(aggregation.build_query(privacy.PrivateRun(plan, 17), SPECS))[0]
    with pytest.raises(AssertionError):
        check_size(samples, first_round_stddev(plan))


class NoiseOnMean(tfp.SumAggregationDPQuery):
    """A fault: divides first and then adds the noise meant for the sum."""

    def __init__(self, query, denominator):
        self._query, self._denominator = query, denominator
        self.initial_global_state = query.initial_global_state
        self.derive_sample_params = query.derive_sample_params
        self.preprocess_record = query.preprocess_record

    def get_noised_result(self, sample_state, global_state):
        mean = tf.nest.map_structure(lambda total: total / self._denominator, sample_state)
        return self._query.get_noised_result(mean, global_state)


@pytest.mark.parametrize('name', ['gaussian', 'tree'])
def test_mutation_noise_on_the_mean(name, make_plan, monkeypatch):
    plan = make_plan(name)
    monkeypatch.setattr(tfp, 'NormalizedQuery', NoiseOnMean)
    samples = noise_of_rounds(aggregation.build_query(privacy.PrivateRun(plan, 17), SPECS))[0]
    with pytest.raises(AssertionError):
        check_size(samples, first_round_stddev(plan))


def test_mutation_same_noise_in_every_round(make_plan, monkeypatch):
    plan = make_plan('gaussian')
    intact = sum_query.round_seed
    monkeypatch.setattr(
        sum_query, 'round_seed', lambda seed, round_num, stream: intact(seed, 0, stream)
    )
    noise = noise_of_rounds(
        aggregation.build_query(privacy.PrivateRun(plan, 17), SPECS), rounds=2
    )
    # The size is right in each round; only a look across rounds can tell.
    check_size(noise[0], first_round_stddev(plan))
    assert np.corrcoef(noise)[0, 1] > 0.99

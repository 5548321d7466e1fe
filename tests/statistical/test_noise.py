"""The noise is Gaussian of the claimed size: zero updates, so the output is the noise.

Every test of a size also rejects two thirds and three halves of it; one that cannot
is no evidence. Seeds are fixed, so nothing here is flaky.
"""

import dataclasses

import numpy as np
import pytest
from scipy import stats
import tensorflow as tf

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.aggregation import combined_gaussian
from dp_fedemb.aggregation import rounded_gaussian

PRIVATE = sorted(name for name, cls in privacy.MECHANISMS.items() if cls.private)
SPECS = [tf.TensorSpec([150, 20]), tf.TensorSpec([1000])]


def query_of(plan, seed, **options):
    return aggregation.build_query(privacy.PrivateRun(plan, seed), SPECS, **options)


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
    samples = noise_of_rounds(query_of(plan, 17))[0]
    check_size(samples, first_round_stddev(plan))
    np.testing.assert_allclose(plan.noise_stddev / 8, first_round_stddev(plan))


@pytest.mark.parametrize('name', ['gaussian', 'adaptive_gaussian'])
def test_rounds_coordinates_and_tensors_are_independent(name, make_plan):
    mechanism = make_plan(name).mechanism
    if name == 'adaptive_gaussian':
        # The norm stays, so that all rounds have the same size.
        mechanism = dataclasses.replace(mechanism, adaptive_clip_learning_rate=1e-9)
    plan = make_plan(mechanism)
    noise = noise_of_rounds(query_of(plan, 17), rounds=12)
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
    specs = [tf.TensorSpec([1])]
    query = aggregation.build_query(privacy.PrivateRun(plan, 23), specs)
    release = tf.function(query.get_noised_result)
    state = query.initial_global_state()
    zero = query.initial_sample_state(specs)
    clips = [0.5]
    for _ in range(1000):
        _, state, _ = release(zero, state)
        clips.append(float(state.numerator_state.clip_norm))
    # Nobody took part: each step is exp(-rate noise / m) with the target at 1/2.
    noise = -np.diff(np.log(clips)) / 0.2 * 8
    check_size(noise, mechanism.clipped_count_stddev * plan.noise_scale)
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 5 / np.sqrt(len(noise))


def scale_noise(monkeypatch, factor):
    """A fault: all noise is `factor` times the claimed size."""
    intact, combined = rounded_gaussian.draw, combined_gaussian.CombinedDraws.draw
    monkeypatch.setattr(
        rounded_gaussian,
        'draw',
        lambda key, stddev, size: intact(key, stddev * factor, size),
    )
    monkeypatch.setattr(
        combined_gaussian.CombinedDraws,
        'draw',
        lambda draws, names, weights, stddev: combined(draws, names, weights, stddev * factor),
    )


@pytest.mark.parametrize('name', PRIVATE)
@pytest.mark.parametrize(
    'factor', [8.0, 1 / 8, 8**-0.5], ids=['on the mean', 'of the mean', 'over sqrt(m)']
)
def test_mutation_size_of_noise(name, factor, make_plan, monkeypatch):
    plan = make_plan(name)
    scale_noise(monkeypatch, factor)
    samples = noise_of_rounds(query_of(plan, 17))[0]
    with pytest.raises(AssertionError):
        check_size(samples, first_round_stddev(plan))


def test_mutation_one_layer_without_noise(make_plan, monkeypatch):
    intact = rounded_gaussian.draw

    def draw(key, stddev, size):
        drawn = intact(key, stddev, size)
        drawn[-1000:] = 0
        return drawn

    monkeypatch.setattr(rounded_gaussian, 'draw', draw)
    plan = make_plan('gaussian')
    with pytest.raises(AssertionError):
        check_size(noise_of_rounds(query_of(plan, 17))[0], first_round_stddev(plan))


def check_rounds_differ(noise):
    """Fails unless the noise of two rounds is independent."""
    assert abs(np.corrcoef(noise)[0, 1]) < 5 / np.sqrt(noise.shape[1])


@pytest.mark.parametrize('name', PRIVATE)
def test_rounds_have_noise_of_their_own(name, make_plan):
    noise = noise_of_rounds(query_of(make_plan(name), 17), rounds=2)
    if privacy.MECHANISMS[name].independent_rounds:
        check_rounds_differ(noise)
    assert len(np.unique(noise[0] / noise[1])) == noise.shape[1]


@pytest.mark.parametrize('fault', ['constant key', 'same noise in every round'])
def test_mutation_keys(fault, make_plan, monkeypatch):
    intact = privacy.PrivateRun.noise_key
    monkeypatch.setattr(
        privacy.PrivateRun,
        'noise_key',
        {
            'constant key': lambda run, *indices: bytes(32),
            'same noise in every round': lambda run, stream, round_num, *rest: intact(
                run, stream, 0, *rest
            ),
        }[fault],
    )
    plan = make_plan('gaussian')
    noise = noise_of_rounds(query_of(plan, 17), rounds=2)
    # The size is right in each round; only a look across rounds can tell.
    check_size(noise[0], first_round_stddev(plan))
    with pytest.raises(AssertionError):
        check_rounds_differ(noise)


@pytest.mark.parametrize('name', PRIVATE)
def test_a_further_attempt_has_fresh_noise(name, make_plan):
    query = query_of(make_plan(name), 17)
    zero = query.initial_sample_state(SPECS)
    state = query.initial_global_state()
    _, state, _ = query.get_noised_result(zero, state)
    first, repeated, second = (
        np.concatenate([leaf.numpy().ravel() for leaf in result])
        for attempt in (0, 0, 1)
        for result in [query.get_noised_result(zero, query.with_attempt(state, attempt))[0]]
    )
    np.testing.assert_array_equal(first, repeated)
    assert not np.any(first == second)


def test_a_tree_remembers_the_attempts_of_the_rounds_before(make_plan):
    """A later prefix takes out the noise that was released, not that of attempt 0."""
    tree = privacy.Tree(0.5, 1.5, efficient=False)
    query = query_of(make_plan(tree), 17)
    zero = query.initial_sample_state(SPECS)
    state = query.with_attempt(query.initial_global_state(), 1)
    released = 0
    for _ in range(4):
        result, state, _ = query.get_noised_result(zero, state)
        released = released + result[0].numpy()
    # After four rounds the prefix is one root, drawn in the fourth.
    again = query.initial_global_state()
    expected = 0
    for _ in range(4):
        result, again, _ = query.get_noised_result(zero, again)
        expected = expected + result[0].numpy()
    np.testing.assert_allclose(released, expected, atol=1e-6)

"""Noise of the driver and of a graph: named draws, and how close they are."""

import mpmath
import numpy as np
import pytest
from scipy import stats
import tensorflow as tf

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.aggregation import noise


@pytest.fixture(params=['driver', 'graph'])
def source(request, make_plan):
    run = privacy.PrivateRun(make_plan('gaussian'), 4)
    if request.param == 'driver':
        return noise.DriverNoise(run)
    return noise.GraphNoise(run.tf_noise_key())


def draw(source, indices, size=50, stddev=1000.0):
    return source.draw(source.initial_state(), indices, stddev, size).numpy()


def test_another_name_is_other_noise(source):
    names = [(0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (0, 0, 1), (-1, 5), (5, -1)]
    names += [(2, 3, level, node, 0) for level in range(4) for node in range(6)]
    drawn = [tuple(draw(source, name)) for name in names]
    assert len(set(drawn)) == len(names)
    assert draw(source, (0, 1)).tolist() == list(drawn[3])
    # Names are numbers, whatever holds them.
    np.testing.assert_array_equal(
        draw(source, (tf.constant(0), tf.constant(1, tf.int64))), drawn[3]
    )


def test_same_in_a_function(source):
    function = tf.function(
        lambda index: source.draw(source.initial_state(), (0, index), 9.0, 7)
    )
    np.testing.assert_array_equal(
        function(tf.constant(3, tf.int64)), draw(source, (0, 3), 7, 9.0)
    )


def test_size_of_the_noise(source):
    for stddev in (30.0, 12345.6):
        drawn = draw(source, (0, 2), 100_000, stddev)
        assert drawn.dtype == np.int64
        # A KS test needs continuous values.
        spread = drawn + np.random.default_rng(0).uniform(-0.5, 0.5, drawn.shape)
        assert stats.kstest(spread, 'norm', (0, stddev)).pvalue > 1e-3
        for factor in (2 / 3, 3 / 2):
            assert stats.kstest(spread, 'norm', (0, factor * stddev)).pvalue < 1e-6


def test_error_of_the_inverse_in_a_graph():
    """What the bound of the graph's noise rests on."""
    generator = np.random.default_rng(0)
    quantiles = np.concatenate(
        [
            generator.uniform(0, 0.5, 300),
            0.5 * np.exp(-np.linspace(0, 44.4, 600)),
            0.5 - 2.0 ** -np.arange(2, 54),
        ]
    )
    found = tf.math.ndtri(tf.constant(quantiles, tf.float64)).numpy()
    worst = 0.0
    with mpmath.workprec(200):
        for quantile, normal in zip(quantiles, found):
            exact = mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(float(quantile)) - 1)
            worst = max(worst, abs(float(mpmath.mpf(float(normal)) - exact)))
    # A word's rounding to float64 moves the inverse by less than 2^-52 more.
    assert found.min() < -9.1 and worst + 2.0**-52 < noise.GraphNoise._ERROR


def test_distance_from_what_is_accounted(make_plan):
    for name in ('gaussian', 'adaptive_gaussian', 'tree', 'tree_adaptive'):
        run = privacy.PrivateRun(make_plan(name), 4)
        specs = [tf.TensorSpec([450_000])]
        exact = aggregation.build_query(run, specs).statistical_distance(200)
        in_graph = aggregation.build_query(run, specs, in_graph=True).statistical_distance(200)
        assert 0 < exact < 1e-60 < 1e-8 < in_graph < 1e-4
    # The same, a draw at a time: the divergence of a coarse Gaussian, edges moved.
    source = noise.GraphNoise((1, 2))
    for stddev in (0.7, 20.0):
        edges = (np.arange(-200, 202) - 0.5) / stddev
        edges = edges[np.abs(edges) < 8]
        error = 1e-6
        right = np.diff(stats.norm.cdf(edges))
        alternating = edges + error * (-1.0) ** np.arange(len(edges))
        wrong = np.diff(stats.norm.cdf(alternating))
        divergence = np.sum(wrong * np.log(wrong / right))
        bound = source.statistical_distance(stddev, 1.0) * error / noise.GraphNoise._ERROR
        assert np.sqrt(divergence / 2) <= bound


def test_no_noise_is_no_distance(make_plan):
    run = privacy.PrivateRun(make_plan('clip_only'), 4)
    assert aggregation.build_query(run, [tf.TensorSpec([9])]).statistical_distance(200) == 0

"""The noise of trees as the planner computes it, against what the aggregator draws."""

import functools
import gc

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import tree_noise
from dp_fedemb.privacy.factorization import workload as workload_lib
from dp_fedemb.privacy.mechanisms import tree_estimates

ROUNDS, LARGE = 11, 10.0**12
TREES = [(None, False), (4, False), (3, True), (6, True), (11, True)]


class OneNode:
    """Draws LARGE in a coordinate of the node's own."""

    def draw(self, state, indices, stddev, size):
        del state, stddev
        _, tree, level, number, _ = (tf.cast(index, tf.int64) for index in indices)
        return tf.cast(tf.one_hot((tree * 5 + level) * 16 + number, size), tf.int64) * int(
            LARGE
        )


@pytest.mark.parametrize('efficient', [True, False])
@pytest.mark.parametrize('restart_rounds, complete', TREES)
def test_weights_are_those_of_the_residuals(restart_rounds, complete, efficient):
    trees = tree_noise.TreeNoise(restart_rounds, complete, efficient, ROUNDS)
    # Without a graph, whose tracing would take most of the time.
    residual = functools.partial(tree_noise.TreeNoise.residual.python_function, trees)
    rounds = [
        residual(OneNode(), (), tf.constant(t, tf.int64), trees.no_attempts(), 1.0, 400)
        for t in range(ROUNDS)
    ]
    prefixes = np.cumsum(np.array(rounds) / LARGE, axis=0)
    drawn = prefixes[:, np.any(prefixes != 0, axis=0)]
    parts = list(tree_estimates.weights(ROUNDS, restart_rounds, complete, efficient))
    expected = np.concatenate(parts, axis=1)
    # Nodes of trees that are unfinished, or lie below a root, may not be in any prefix.
    expected = expected[:, np.any(expected != 0, axis=0)]
    assert drawn.shape == expected.shape
    order = [sorted(map(tuple, table.T.round(9))) for table in (drawn, expected)]
    np.testing.assert_allclose(*order, atol=1e-8)


def test_the_noise_of_a_run_outlives_equal_trees_of_another():
    """TensorFlow keeps the functions of equal objects once, for as long as the first lives."""
    first, second = (tree_noise.TreeNoise(None, False, True, ROUNDS) for _ in range(2))
    functions = [first.residual, second.residual]
    del first, functions[0]
    gc.collect()
    round_num = tf.constant(0, tf.int64)
    assert functions[0](OneNode(), (), round_num, second.no_attempts(), 1.0, 400).shape == 400


def test_variance_is_that_of_sgd_on_drawn_noise():
    mechanism = privacy.Tree(1.0, 1.0, restart_rounds=6, tree_completion=True)
    workload = workload_lib.Workload(ROUNDS, 0.9)
    parts = tree_estimates.weights(ROUNDS, 6, True)
    weights = np.concatenate(list(parts), axis=1)
    draws = np.random.default_rng(0).normal(size=(weights.shape[1], 20_000))
    prefixes = weights @ draws
    velocity, model, before, squares = 0.0, 0.0, 0.0, []
    for prefix in prefixes:
        velocity = 0.9 * velocity + prefix - before
        model, before = model + velocity, prefix
        squares.append(np.mean(model**2))
    np.testing.assert_allclose(mechanism.model_variance(workload), np.mean(squares), rtol=0.03)


def test_more_rounds_than_are_computed():
    with pytest.raises(ValueError, match='computed for at most 4096'):
        privacy.Tree(1.0, 1.0).model_variance(workload_lib.Workload(5000))

"""Noise of the trees over rounds: closed-form covariance, and what it costs.

The expected covariance is built from the definition of the estimators, one node and
one inverse variance at a time, and not from the formula that the code uses.
"""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.mechanisms import tree_nodes

COORDINATES = 6000
SPECS = [tf.TensorSpec([COORDINATES - 10]), tf.TensorSpec([10])]
ROUNDS = 19
# Restarts in mid-power, at a power of two, every round, and never.
TREES = [
    privacy.Tree(0.5, 1.5, restart_rounds, completion, efficient)
    for restart_rounds, completion in (
        (None, False),
        (8, False),
        (6, False),
        (6, True),
        (11, True),
        (8, True),
        (1, True),
    )
    for efficient in (True, False)
]
TREE_IDS = [
    '-'.join(
        [
            str(tree.restart_rounds),
            'complete' if tree.tree_completion else 'open',
            'efficient' if tree.efficient else 'plain',
        ]
    )
    for tree in TREES
]


def subtree(start, height, efficient):
    """Weights of the nodes (level, first round) of a complete subtree, and the variance."""
    if height == 0 or not efficient:
        return {(height, start): 1.0}, 1.0
    left, variance = subtree(start, height - 1, efficient)
    right, _ = subtree(start + 2 ** (height - 1), height - 1, efficient)
    # Two measurements of the same sum: the node's own, and that of its children.
    of_own, of_children = 1.0, 1 / (2 * variance)
    share = of_own / (of_own + of_children)
    weights = {node: (1 - share) * weight for node, weight in (left | right).items()}
    return weights | {(height, start): share}, 1 / (of_own + of_children)


def prefix(rounds, efficient):
    """Weights of the estimate of the first `rounds` rounds of a tree."""
    weights, start = {}, 0
    for height in reversed(range(rounds.bit_length())):
        if rounds >> height & 1:
            weights |= subtree(start, height, efficient)[0]
            start += 2**height
    return weights


def residual_weights(tree, rounds):
    """One map {(tree, level, first round): weight} per round."""
    length = tree.restart_rounds or rounds
    result = []
    for round_num in range(rounds):
        number, step = divmod(round_num, length)
        before = prefix(step, tree.efficient)
        after = prefix(step + 1, tree.efficient)
        if tree.tree_completion and step + 1 == length:
            after = subtree(0, (length - 1).bit_length(), tree.efficient)[0]
        result.append(
            {
                (number, *node): after.get(node, 0.0) - before.get(node, 0.0)
                for node in after.keys() | before.keys()
            }
        )
    return result


def expected_covariance(tree, rounds):
    """[rounds, rounds], in units of the variance of a node."""
    weights = residual_weights(tree, rounds)
    nodes = {node: index for index, node in enumerate(sorted(set().union(*weights)))}
    matrix = np.zeros([rounds, len(nodes)])
    for round_num, row in enumerate(weights):
        for node, weight in row.items():
            matrix[round_num, nodes[node]] = weight
    return matrix @ matrix.T


@functools.lru_cache
def released(plan, rounds=ROUNDS):
    """Noise of each round on the SUM, in units of a node's standard deviation."""
    query = aggregation.build_query(privacy.PrivateRun(plan, 29), SPECS)
    state = query.initial_global_state()
    zero = query.initial_sample_state(SPECS)
    rows = []
    for _ in range(rounds):
        result, state, _ = query.get_noised_result(zero, state)
        rows.append(np.concatenate(result))
    return np.array(rows) * plan.virtual_clients_per_round / plan.noise_stddev


def check_covariance(noise, expected):
    """Fails if any entry is more than five standard errors off."""
    empirical = noise @ noise.T / noise.shape[1]
    variances = np.diag(expected)
    errors = np.sqrt((np.outer(variances, variances) + expected**2) / noise.shape[1])
    assert np.all(np.abs(empirical - expected) < 5 * errors)


@pytest.mark.parametrize('tree', TREES, ids=TREE_IDS)
def test_covariance_over_rounds(tree, make_plan):
    noise = released(make_plan(tree, rounds=ROUNDS))
    expected = expected_covariance(tree, ROUNDS)
    check_covariance(noise, expected)
    for factor in (2 / 3, 3 / 2):
        with pytest.raises(AssertionError):
            check_covariance(factor * noise, expected)


@pytest.mark.parametrize('height', range(7))
def test_variance_of_a_root_is_honakers(height):
    weights, variance = subtree(0, height, efficient=True)
    np.testing.assert_allclose(variance, 1 / (2 - 2.0**-height))
    np.testing.assert_allclose(sum(w**2 for w in weights.values()), variance)


def test_efficient_estimate_is_never_worse(make_plan):
    sums = {
        efficient: np.cumsum(
            released(make_plan(privacy.Tree(0.5, 1.5, efficient=efficient), rounds=ROUNDS)), 0
        ).var(axis=1)
        for efficient in (True, False)
    }
    assert np.all(sums[True] < sums[False] * 1.05)
    # After 16 rounds: one root of variance 16/31, against one draw.
    np.testing.assert_allclose(sums[True][15], 16 / 31, rtol=0.1)
    np.testing.assert_allclose(sums[False][15], 1.0, rtol=0.1)


@pytest.mark.parametrize('tree', TREES, ids=TREE_IDS)
@pytest.mark.parametrize('epoch', [1, 3, 4, 19])
def test_accounted_cost_covers_what_is_released(tree, epoch):
    """The release is a Gaussian of known covariance, so its exact cost is known too.

    A user whose updates are u (of C each, with any signs) moves the released rounds by
    u; the squared sensitivity over the noise is u' S^-1 u. The accountant counts visits
    to nodes, which must not be less.
    """
    participation = participation_lib.ParticipationSchedule(epoch)
    generator = np.random.default_rng(0)
    for rounds in (5, 6, 8, 12, ROUNDS):
        precision = np.linalg.inv(expected_covariance(tree, rounds))
        exact = 0.0
        for first in range(min(epoch, rounds)):
            mine = precision[first::epoch, first::epoch]
            signs = generator.choice([-1.0, 1.0], [20, len(mine)])
            signs[0] = 1.0
            exact = max(exact, np.einsum('si,ij,sj->s', signs, mine, signs).max())
        accounted = tree_nodes.squared_visits(
            participation, rounds, tree.restart_rounds, tree.tree_completion
        )
        assert exact <= accounted * (1 + 1e-9)
        if tree.efficient:
            # And it is no wild overestimate.
            assert exact >= accounted / 3


def test_adaptive_trees_are_the_same_trees(make_plan):
    tree = privacy.TreeAdaptive(
        0.5, 1.5, 6, True, adaptive_clip_learning_rate=1e-9, clipped_count_stddev=1.0
    )
    noise = released(make_plan(tree, rounds=ROUNDS))
    check_covariance(noise, expected_covariance(tree, ROUNDS))


def test_mutation_noise_reused_by_the_next_tree(make_plan, monkeypatch):
    intact = privacy.PrivateRun.noise_key
    monkeypatch.setattr(
        privacy.PrivateRun,
        'noise_key',
        lambda run, stream, tree, *node: intact(run, stream, 0, *node),
    )
    tree = privacy.Tree(0.5, 1.5, 6, True)
    noise = released.__wrapped__(make_plan(tree, rounds=ROUNDS))
    with pytest.raises(AssertionError):
        check_covariance(noise, expected_covariance(tree, ROUNDS))


def test_mutation_restarts_forgotten(make_plan):
    tree = privacy.Tree(0.5, 1.5, 6, True)
    single = dataclasses.replace(tree, restart_rounds=None, tree_completion=False)
    noise = released(make_plan(single, rounds=ROUNDS))
    with pytest.raises(AssertionError):
        check_covariance(noise, expected_covariance(tree, ROUNDS))

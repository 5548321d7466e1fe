"""DP-FTRL: clipped sums with the correlated noise of binary trees.

Kairouz et al. (2021, arXiv 2103.00039), Algorithm 1. A round's result is the
difference of two noised prefix sums, so that a server optimizer sees an update as from
any other mechanism; plain SGD on it is DP-FTRL. What it costs is accounted in
`dp_fedemb.privacy.mechanisms.tree`.
"""

from typing import Any, NamedTuple

import dp_accounting
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import sum_query
from dp_fedemb.aggregation import tree_noise


class TreeState(NamedTuple):
    """State between rounds; `seed` is secret. The trees themselves follow from it."""

    clip_norm: Any
    node_stddev: Any
    seed: Any
    round_num: Any


class TreeSumQuery(sum_query.ClippedSumQuery):
    """Sum of clipped records with the round's share of the trees' noise."""

    def __init__(self, clip_norm: float, node_stddev: float, noise: tree_noise.TreeNoise, seed):
        """Initialises the query.

        Args:
            clip_norm: L2 bound C of one record, units of the weights.
            node_stddev: standard deviation per coordinate of the noise of a node.
            noise: the trees.
            seed: int64 [2], secret key of the noise.

        Raises:
            ValueError: unless clip and noise are positive and the clip is finite.
        """
        if not (node_stddev > 0 and 0 < clip_norm < float('inf')):
            raise ValueError(
                f'node_stddev={node_stddev!r} with clip_norm={clip_norm!r}: expected both above'
                ' 0 and a finite clip'
            )
        self._clip_norm = clip_norm
        self._node_stddev = node_stddev
        self._noise = noise
        self._seed = [int(word) for word in seed]

    def initial_global_state(self) -> TreeState:
        return TreeState(
            clip_norm=tf.constant(self._clip_norm, tf.float32),
            node_stddev=tf.constant(self._node_stddev, tf.float32),
            seed=tf.constant(self._seed, tf.int64),
            round_num=tf.constant(0, tf.int64),
        )

    def get_noised_result(self, sample_state, global_state: TreeState):
        result = self._noise.add(
            sample_state, global_state.node_stddev, global_state.seed, global_state.round_num
        )
        new_state = global_state._replace(round_num=global_state.round_num + 1)
        # No round has an event of its own: the plan's is that of all rounds together.
        return result, new_state, dp_accounting.UnsupportedDpEvent()


def build(run: privacy.PrivateRun, record_specs: sum_query.RecordSpecs) -> TreeSumQuery:
    """Returns the query of a run with mechanism tree."""
    del record_specs
    plan = run.plan
    return TreeSumQuery(
        plan.mechanism.clip_norm, plan.noise_stddev, trees(plan.mechanism), run.tf_noise_key()
    )


def trees(mechanism: privacy.Tree) -> tree_noise.TreeNoise:
    """Returns the noise of the mechanism's trees."""
    return tree_noise.TreeNoise(
        mechanism.restart_rounds, mechanism.tree_completion, mechanism.efficient
    )

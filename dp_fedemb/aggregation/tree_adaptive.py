"""DP-FTRL with a clip norm that adapts between trees.

Trees as in `tree`, counts of unclipped records as in `adaptive_gaussian`. A node's
noise is for one C, so C stays while a tree grows and moves by the mean of the
tree's noised fractions when it ends. What both cost together is accounted in
`dp_fedemb.privacy.mechanisms.tree_adaptive`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import dp_accounting
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import quantile
from dp_fedemb.aggregation import sum_query
from dp_fedemb.aggregation import tree


class TreeAdaptiveState(NamedTuple):
    """State between rounds; `seed` is secret, the rest are private releases.

    `fraction_sum` is that of the released fractions of unclipped records in the rounds
    of the tree so far.
    """

    clip_norm: Any
    fraction_sum: Any
    seed: Any
    round_num: Any


class TreeAdaptiveSumQuery(quantile.QuantileSumQuery):
    """Sum of clipped records with tree noise, and a C for each tree."""

    def __init__(
        self,
        mechanism: privacy.TreeAdaptive,
        virtual_clients: float,
        node_stddev: float,
        count_stddev: float,
        seed: Sequence[int],
    ):
        """Initialises the query.

        Args:
            mechanism: with `clipped_count_stddev` filled in, as a plan does.
            virtual_clients: m, public divisor of the counts.
            node_stddev: of the noise of a node while C is `mechanism.clip_norm`.
            count_stddev: of the noise on a round's count.
            seed: int64 [2], secret key of the noise.
        """
        self._mechanism = mechanism
        self._virtual_clients = virtual_clients
        self._node_noise_over_clip = node_stddev / mechanism.clip_norm
        self._count_stddev = count_stddev
        self._noise = tree.trees(mechanism)
        self._seed = [int(word) for word in seed]

    def initial_global_state(self) -> TreeAdaptiveState:
        return TreeAdaptiveState(
            clip_norm=tf.constant(self._mechanism.clip_norm, tf.float32),
            fraction_sum=tf.constant(0.0),
            seed=tf.constant(self._seed, tf.int64),
            round_num=tf.constant(0, tf.int64),
        )

    def get_noised_result(self, sample_state, global_state: TreeAdaptiveState):
        total, count = sample_state
        clip_norm, fraction_sum, seed, round_num = global_state
        result = self._noise.add(total, self._node_noise_over_clip * clip_norm, seed, round_num)
        fraction_sum += quantile.noised_fraction(
            count, self._count_stddev, self._virtual_clients, seed, round_num
        )
        moved = quantile.moved_clip(
            clip_norm,
            fraction_sum / self._mechanism.restart_rounds,
            self._mechanism.target_unclipped_quantile,
            self._mechanism.adaptive_clip_learning_rate,
        )
        ends = self._noise.ends_tree(round_num)
        new_state = TreeAdaptiveState(
            clip_norm=tf.where(ends, moved, clip_norm),
            fraction_sum=tf.where(ends, 0.0, fraction_sum),
            seed=seed,
            round_num=round_num + 1,
        )
        # No round has an event of its own: the plan's is that of all rounds together.
        return result, new_state, dp_accounting.UnsupportedDpEvent()


def build(run: privacy.PrivateRun, record_specs: sum_query.RecordSpecs) -> TreeAdaptiveSumQuery:
    """Returns the query of a run with mechanism tree_adaptive."""
    del record_specs
    plan = run.plan
    return TreeAdaptiveSumQuery(
        plan.mechanism,
        float(plan.virtual_clients_per_round),
        plan.noise_stddev,
        plan.mechanism.clipped_count_stddev * plan.noise_scale,
        run.tf_noise_key(),
    )

"""DP-FTRL with a clip norm that adapts between trees.

Trees as in `tree`, counts of unclipped records as in `adaptive_gaussian`. A node's
noise is for one C, so C stays while a tree grows and moves by the mean of the
tree's noised fractions when it ends. What both cost together is accounted in
`dp_fedemb.privacy.mechanisms.tree_adaptive`.
"""

from typing import Any, NamedTuple

import dp_accounting
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import noise as noise_lib
from dp_fedemb.aggregation import quantile
from dp_fedemb.aggregation import sum_query
from dp_fedemb.aggregation import tree


class TreeAdaptiveState(NamedTuple):
    """State between rounds; `noise` is secret, the rest are private releases.

    `fraction_sum` is that of the released fractions of unclipped records in the rounds
    of the tree so far; `attempts` as in `tree.TreeState`.
    """

    clip_norm: Any
    fraction_sum: Any
    noise: Any
    round_num: Any
    attempts: Any


class TreeAdaptiveSumQuery(quantile.QuantileSumQuery):
    """Sum of clipped records with tree noise, and a C for each tree."""

    def __init__(
        self,
        run: privacy.PrivateRun,
        record_specs: sum_query.RecordSpecs,
        noise: noise_lib.NoiseSource,
    ):
        """As `QuantileSumQuery`."""
        super().__init__(run, record_specs, noise)
        self._trees = tree.trees(run.plan)

    def initial_global_state(self) -> TreeAdaptiveState:
        return TreeAdaptiveState(
            clip_norm=tf.constant(self._clip_norm, tf.float32),
            fraction_sum=tf.constant(0.0),
            noise=self.noise.initial_state(),
            round_num=tf.constant(0, tf.int64),
            attempts=self._trees.no_attempts(),
        )

    def with_attempt(self, global_state: TreeAdaptiveState, attempt: int) -> TreeAdaptiveState:
        attempts = self._trees.with_attempt(
            global_state.attempts, global_state.round_num, attempt
        )
        return global_state._replace(attempts=attempts)

    def get_noised_result(
        self, sample_state: Any, global_state: TreeAdaptiveState
    ) -> tuple[Any, TreeAdaptiveState, dp_accounting.DpEvent]:
        total, count = sample_state
        clip_norm, fraction_sum, noise, round_num, attempts = global_state
        drawn = self._trees.residual(
            self.noise,
            noise,
            round_num,
            attempts,
            self.noise_units,
            self.dimension,
        )
        result = self._grid.to_float(sum_query.add_vector(total, drawn), clip_norm)
        attempt = self._trees.attempt_of(attempts, round_num)
        fraction_sum += self._noised_fraction(count, noise, round_num, attempt)
        mean_fraction = fraction_sum / self._mechanism.restart_rounds
        ends = self._trees.ends_tree(round_num)
        new_state = TreeAdaptiveState(
            clip_norm=tf.where(ends, self._moved_clip(clip_norm, mean_fraction), clip_norm),
            fraction_sum=tf.where(ends, 0.0, fraction_sum),
            noise=noise,
            round_num=round_num + 1,
            attempts=attempts,
        )
        # No round has an event of its own: the plan's is that of all rounds together.
        return result, new_state, dp_accounting.UnsupportedDpEvent()

    def draws(self, rounds: int) -> float:
        return float(self._trees.nodes(rounds) * self.dimension + rounds)


build = TreeAdaptiveSumQuery

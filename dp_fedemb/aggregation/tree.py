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
from dp_fedemb.aggregation import noise as noise_lib
from dp_fedemb.aggregation import sum_query
from dp_fedemb.aggregation import tree_noise


class TreeState(NamedTuple):
    """State between rounds; `noise` is secret. The trees themselves follow from it.

    `attempts` are those of all planned rounds, since later rounds draw a node again.
    """

    clip_norm: Any
    noise: Any
    round_num: Any
    attempts: Any


class TreeSumQuery(sum_query.ClippedSumQuery):
    """Sum of clipped records with the round's share of the trees' noise."""

    def __init__(
        self,
        clip_norm: float,
        node_stddev: float,
        trees: tree_noise.TreeNoise,
        record_specs: sum_query.RecordSpecs,
        noise: noise_lib.NoiseSource,
    ):
        """Initialises the query.

        Args:
            clip_norm: L2 bound C of one record, units of the weights.
            node_stddev: standard deviation per coordinate of the noise of a node.
            trees: those of the run.
            record_specs: of the tensors of one record.
            noise: source of the noise.

        Raises:
            ValueError: unless clip and noise are positive and the clip is finite.
        """
        if not (node_stddev > 0 and 0 < clip_norm < float('inf')):
            raise ValueError(
                f'node_stddev={node_stddev!r} with clip_norm={clip_norm!r}: expected both above'
                ' 0 and a finite clip'
            )
        super().__init__(clip_norm, node_stddev, record_specs, noise)
        self._trees = trees

    def initial_global_state(self) -> TreeState:
        return TreeState(
            clip_norm=tf.constant(self._clip_norm, tf.float32),
            noise=self.noise.initial_state(),
            round_num=tf.constant(0, tf.int64),
            attempts=self._trees.no_attempts(),
        )

    def with_attempt(self, global_state: TreeState, attempt: int) -> TreeState:
        attempts = self._trees.with_attempt(
            global_state.attempts, global_state.round_num, attempt
        )
        return global_state._replace(attempts=attempts)

    def get_noised_result(
        self, sample_state: Any, global_state: TreeState
    ) -> tuple[Any, TreeState, dp_accounting.DpEvent]:
        clip_norm, noise, round_num, attempts = global_state
        drawn = self._trees.residual(
            self.noise, noise, round_num, attempts, self.noise_units, self.dimension
        )
        result = self._grid.to_float(sum_query.add_vector(sample_state, drawn), clip_norm)
        new_state = global_state._replace(round_num=round_num + 1)
        # No round has an event of its own: the plan's is that of all rounds together.
        return result, new_state, dp_accounting.UnsupportedDpEvent()

    def draws(self, rounds: int) -> float:
        return float(self._trees.nodes(rounds) * self.dimension)


def build(
    run: privacy.PrivateRun,
    record_specs: sum_query.RecordSpecs,
    noise: noise_lib.NoiseSource,
) -> TreeSumQuery:
    """Returns the query of a run with mechanism tree."""
    plan = run.plan
    return TreeSumQuery(
        plan.mechanism.clip_norm, plan.noise_stddev, trees(plan), record_specs, noise
    )


def trees(plan: privacy.PrivacyPlan) -> tree_noise.TreeNoise:
    """Returns the trees of a plan whose mechanism has some."""
    mechanism: Any = plan.mechanism
    return tree_noise.TreeNoise(
        mechanism.restart_rounds, mechanism.tree_completion, mechanism.efficient, plan.rounds
    )

"""Tree aggregation (DP-FTRL): correlated noise, no sampling needed."""

import dataclasses
from typing import Optional

import numpy as np

from dp_fedemb import settings
from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy import sensitivity
from dp_fedemb.privacy.factorization import workload as workload_lib
from dp_fedemb.privacy.mechanisms import base
from dp_fedemb.privacy.mechanisms import tree_estimates
from dp_fedemb.privacy.mechanisms import tree_nodes

# The work grows with the square of the rounds.
_MOST_ROUNDS = 4096


@dataclasses.dataclass(frozen=True)
class Tree(base.Mechanism):
    """Kairouz et al. (2021, arXiv 2103.00039): prefix sums from a binary tree.

    Every complete node of a binary tree over the rounds holds the sum of its rounds
    plus N(0, (z C)^2) per coordinate; a round's result is the difference of two
    estimated prefix sums. Estimating them from all nodes instead of the fewest (Honaker
    2015, `efficient`) is post-processing of the same nodes and costs nothing.

    Attributes:
        restart_rounds: rounds of one tree, after which a new one begins from the
            state reached; None for a single tree.
        tree_completion: before a restart, fills the tree with empty rounds up to the
            next power of two, so that the last prefix sum is that of one well
            estimated root. The nodes this adds are accounted.
        efficient: Honaker's variance reduction.
    """

    name = 'tree'
    independent_rounds = False

    restart_rounds: Optional[int] = settings.setting(
        None, 'Trees: rounds of one tree; by default a single tree.', within='[1, 1e8]'
    )
    tree_completion: bool = settings.setting(
        False, 'Trees: fill a tree up to a power of two before a restart.'
    )
    efficient: bool = settings.setting(
        True, 'Trees: estimate sums from all nodes (Honaker) instead of the fewest.'
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        base.require_noise_and_clip(self)
        if self.restart_rounds is None and self.tree_completion:
            raise ValueError(
                'tree_completion=True without restart_rounds: a tree is completed before a'
                ' restart, and there is none; set restart_rounds'
            )

    def model_variance(self, workload: workload_lib.Workload) -> float:
        rounds = workload.rounds
        if rounds > _MOST_ROUNDS:
            raise ValueError(
                f'mechanism={self.name} for {rounds} rounds: the noise of trees in the model is'
                f' computed for at most {_MOST_ROUNDS}'
            )
        parts = tree_estimates.weights(
            rounds, self.restart_rounds, self.tree_completion, self.efficient
        )
        # A round's noise is that of its prefix less that of the prefix before.
        models = (workload.model_noise(np.diff(part, axis=0, prepend=0.0)) for part in parts)
        return sum(float(np.sum(model**2)) for model in models) / rounds

    def squared_sensitivity(
        self,
        change: sensitivity.RecordChange,
        participation: participation_lib.ParticipationSchedule,
        rounds: int,
    ) -> float:
        visits = tree_nodes.squared_visits(
            participation, rounds, self.restart_rounds, self.tree_completion
        )
        return visits * (change.update / self.noise_multiplier) ** 2

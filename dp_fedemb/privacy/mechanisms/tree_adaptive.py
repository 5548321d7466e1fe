"""Tree aggregation whose clip norm adapts, at restarts only."""

import dataclasses
from typing import Optional

from dp_fedemb.privacy.mechanisms import adaptive_gaussian
from dp_fedemb.privacy.mechanisms import tree


@dataclasses.dataclass(frozen=True)
class TreeAdaptive(tree.Tree):
    """Trees of a constant clip norm each, which changes between trees.

    A node's noise is calibrated to one C, so C must not change while a tree grows.
    Every round releases its number of unclipped records, counted as +1/2 or -1/2, with
    independent noise of standard deviation sigma_b; at a restart, C moves by the mean
    of the finished tree's counts. In units of C of the day, a unit then moves each
    tree node as often as it takes part below it, and each count once: the squared
    sensitivity is the tree's plus that of as many counts as participations (Gaussian,
    chosen adaptively, so the two add).

    Attributes:
        noise_multiplier: z of the tree's nodes; the counts come on top.
        clipped_count_stddev: sigma_b; None for a twentieth of the cohort.
        target_unclipped_quantile: as in `AdaptiveGaussian`.
        adaptive_clip_learning_rate: as in `AdaptiveGaussian`, per restart.
    """

    name = 'tree_adaptive'
    released = ('the clip norm of every tree, from noised counts of unclipped updates',)

    target_unclipped_quantile: float = 0.5
    adaptive_clip_learning_rate: float = 0.2
    clipped_count_stddev: Optional[float] = None

    def __post_init__(self):
        super().__post_init__()
        adaptive_gaussian.check_quantile_fields(self)
        if self.restart_rounds is None:
            raise ValueError(
                'mechanism=tree_adaptive without restart_rounds: noise in a tree is for one'
                ' clip norm, which can only change where a tree ends; set restart_rounds'
            )

    def for_cohort(self, virtual_clients):
        if self.clipped_count_stddev is not None:
            return self
        sigma_b = adaptive_gaussian.default_count_stddev(virtual_clients)
        return dataclasses.replace(self, clipped_count_stddev=sigma_b)

    def scaled(self, factor):
        return adaptive_gaussian.scaled_with_count(self, factor)

    def squared_sensitivity(self, change, participation, rounds):
        sigma_b = adaptive_gaussian.resolved_count_stddev(self)
        counts = participation.most(rounds) * (change.count / sigma_b) ** 2
        return super().squared_sensitivity(change, participation, rounds) + counts

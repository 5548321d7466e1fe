"""Tree aggregation whose clip norm adapts, at restarts only."""

import dataclasses

from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy import sensitivity
from dp_fedemb.privacy.mechanisms import quantile_clip
from dp_fedemb.privacy.mechanisms import tree


@dataclasses.dataclass(frozen=True)
class TreeAdaptive(quantile_clip.QuantileClip, tree.Tree):
    """Trees of a constant clip norm each, which changes between trees.

    A node's noise is calibrated to one C, so C must not change while a tree grows.
    Every round releases its number of unclipped records, counted as +1/2 or -1/2, with
    independent noise of standard deviation sigma_b; at a restart, C moves by the mean
    of the finished tree's counts. In units of C of the day, a unit then moves each
    tree node as often as it takes part below it, and each count once: the squared
    sensitivity is the tree's plus that of as many counts as participations (Gaussian,
    chosen adaptively, so the two add). `noise_multiplier` is z of the tree's nodes; the
    counts come on top.
    """

    name = 'tree_adaptive'
    released = ('the clip norm of every tree, from noised counts of unclipped updates',)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restart_rounds is None:
            raise ValueError(
                'mechanism=tree_adaptive without restart_rounds: noise in a tree is for one'
                ' clip norm, which can only change where a tree ends; set restart_rounds'
            )

    def squared_sensitivity(
        self,
        change: sensitivity.RecordChange,
        participation: participation_lib.ParticipationSchedule,
        rounds: int,
    ) -> float:
        counts = participation.most(rounds) * (change.count / self.count_stddev) ** 2
        return super().squared_sensitivity(change, participation, rounds) + counts

"""Stops a run that has nothing to gain any more, in the round in which that shows.

It looks at a round's row alone. What clients measured is there without privacy, or where
--raw_metrics releases it: to stop for what nobody may know would tell it.
"""

from collections.abc import Mapping
from typing import Any, Optional

from dp_fedemb.evaluation import verification

# Times the clip: updates of this mean norm are nothing but their direction.
_FAR_BEYOND = 10.0
_FALLS = 2


class Divergence:
    """What is remembered of the rounds before."""

    def __init__(self, clip_norm: float) -> None:
        """Takes the bound on an update's norm; infinite without one."""
        self._clip_norm = clip_norm
        self._recall: Optional[float] = None
        self._falls = 0

    def check(self, row: Mapping[str, Any]) -> None:
        """Looks at the next row.

        Raises:
            ValueError: naming the likely cause, where every update was zeroed because it
                was not finite, or all are far beyond the clip and recall has fallen twice.
        """
        clients = row.get('virtual_clients')
        zeroed = row.get('update_non_finite', 0.0)
        if clients and zeroed >= clients:
            raise ValueError(
                f'round {row["round"]}: every update was not finite and counts as zero; local'
                ' training diverges: lower client_lr or head_lr_scale, or set local_epochs=1'
            )
        recall = next((row[name] for name in row if verification.is_recall(name)), None)
        if recall is None:
            return
        fell = self._recall is not None and recall < self._recall
        self._falls = self._falls + 1 if fell else 0
        self._recall = recall
        norm = row.get('update_norm')
        if norm is None or self._falls < _FALLS:
            return
        if norm > _FAR_BEYOND * self._clip_norm:
            raise ValueError(
                f'round {row["round"]}: recall falls, and updates have a norm of {norm:.3g},'
                f' far beyond clip_norm={self._clip_norm:g}: lower client_lr or server_lr, or'
                ' raise clip_norm'
            )

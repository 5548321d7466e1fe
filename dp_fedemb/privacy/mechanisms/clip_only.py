"""Clipping without noise: the utility of clipping alone, no guarantee."""

import dataclasses
import math

from dp_fedemb.privacy.mechanisms import base


@dataclasses.dataclass(frozen=True)
class ClipOnly(base.Mechanism):
    """Clips each update to C; epsilon is infinite."""

    name = 'clip_only'
    private = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_multiplier != 0 or math.isinf(self.clip_norm):
            raise ValueError(
                f'mechanism=clip_only with clip_norm={self.clip_norm},'
                f' noise_multiplier={self.noise_multiplier}: expected a finite clip and no'
                ' noise; choose gaussian for noise'
            )

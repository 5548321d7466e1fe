"""Fixed clip and independent Gaussian noise in every round."""

import dataclasses
import math

from dp_fedemb.privacy.mechanisms import base


@dataclasses.dataclass(frozen=True)
class Gaussian(base.Mechanism):
    """McMahan et al. (2018, arXiv 1710.06963): N(0, (z C)^2) on the clipped sum."""

    name = 'gaussian'

    def __post_init__(self):
        super().__post_init__()
        if self.noise_multiplier == 0 or math.isinf(self.clip_norm):
            raise ValueError(
                f'mechanism=gaussian with clip_norm={self.clip_norm},'
                f' noise_multiplier={self.noise_multiplier}: both must be positive and finite;'
                ' choose clip_only for no noise, none for no clip either'
            )

"""Fixed clip and independent Gaussian noise in every round."""

import dataclasses

from dp_fedemb.privacy.mechanisms import base


@dataclasses.dataclass(frozen=True)
class Gaussian(base.Mechanism):
    """McMahan et al. (2018, arXiv 1710.06963): N(0, (z C)^2) on the clipped sum."""

    name = 'gaussian'

    def __post_init__(self) -> None:
        super().__post_init__()
        base.require_noise_and_clip(self)

"""No privacy: updates are neither clipped nor noised."""

import dataclasses
import math

from dp_fedemb.privacy.mechanisms import base


@dataclasses.dataclass(frozen=True)
class NoPrivacy(base.Mechanism):
    """Plain averaging; the reference that a private run is compared with."""

    name = 'none'
    private = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_multiplier != 0 or not math.isinf(self.clip_norm):
            raise ValueError(
                f'mechanism=none with clip_norm={self.clip_norm},'
                f' noise_multiplier={self.noise_multiplier}: it neither clips nor noises;'
                ' choose gaussian or clip_only, or leave both unset'
            )

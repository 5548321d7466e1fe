"""What a mechanism states of itself: clip, noise, and what it costs a round.

The TensorFlow side (what is computed) is in `dp_fedemb.aggregation`, one file
with the same name; this side is what the accountant sees.
"""

import dataclasses
import math
from typing import ClassVar

from dp_fedemb import validate


@dataclasses.dataclass(frozen=True)
class Mechanism:
    """A way of clipping and noising the sum of a round's updates.

    Attributes:
        clip_norm: C, L2 bound of one virtual client's backbone update.
        noise_multiplier: z, standard deviation of the noise on the sum over C.
    """

    name: ClassVar[str]
    # Whether rounds are noised independently, so that they compose one by one.
    independent_rounds: ClassVar[bool] = True
    # Whether the released result is noised at all.
    private: ClassVar[bool] = True

    clip_norm: float = math.inf
    noise_multiplier: float = 0.0

    def __post_init__(self):
        validate.positive(clip_norm=self.clip_norm)
        validate.non_negative(noise_multiplier=self.noise_multiplier)
        if math.isinf(self.noise_multiplier):
            raise ValueError('noise_multiplier=inf: expected a finite number')
        if self.noise_multiplier > 0 and math.isinf(self.clip_norm):
            raise ValueError(
                f'noise_multiplier={self.noise_multiplier} without clip_norm: noise bounds'
                ' nothing unless updates are clipped; set clip_norm'
            )

"""What mechanisms share whose clip norm follows a quantile of the update norms."""

import dataclasses
from typing import Optional

from dp_fedemb import settings
from dp_fedemb.privacy.mechanisms import base


@dataclasses.dataclass(frozen=True)
class QuantileClip(base.Mechanism):
    """Andrew et al. (2019, arXiv 1905.03871): C follows noised counts of clipped records.

    Attributes:
        clip_norm: C of the first round.
        target_unclipped_quantile: fraction of updates that C is to leave alone.
        adaptive_clip_learning_rate: of C <- C exp(-rate (fraction - target)).
        clipped_count_stddev: sigma_b, noise on the number of unclipped records, each
            counted as +1/2 or -1/2; None for a twentieth of the cohort, the paper's
            choice (section 3.1), which the plan fills in.
    """

    target_unclipped_quantile: float = settings.setting(
        0.5,
        'Adaptive clip: fraction of updates that the clip norm leaves alone.',
        within='[0, 1]',
    )
    adaptive_clip_learning_rate: float = settings.setting(
        0.2, 'Adaptive clip: rate of log C.', within='[1e-9, 10]'
    )
    clipped_count_stddev: Optional[float] = settings.setting(
        None,
        'Adaptive clip: noise on the count of unclipped updates; m/20 by default.',
        within='[1e-9, 1e9]',
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        base.require_noise_and_clip(self)

    def relative_noise(self, rounds: int) -> None:
        """None: the noise follows the clip norm."""
        return None

    @property
    def count_stddev(self) -> float:
        """sigma_b.

        Raises:
            ValueError: if it was left to the cohort and no plan has filled it in.
        """
        if self.clipped_count_stddev is None:
            raise ValueError(
                'clipped_count_stddev=None: it follows from the cohort; take the mechanism'
                ' from a PrivacyPlan, or call for_cohort(virtual_clients)'
            )
        return self.clipped_count_stddev

    def for_cohort(self, virtual_clients: float) -> base.Mechanism:
        if self.clipped_count_stddev is not None:
            return self
        return dataclasses.replace(self, clipped_count_stddev=virtual_clients / 20)

    def scaled(self, factor: float) -> base.Mechanism:
        """Returns the mechanism with the noise of both, sum and count, multiplied."""
        return dataclasses.replace(
            self,
            noise_multiplier=self.noise_multiplier * factor,
            clipped_count_stddev=self.count_stddev * factor,
        )

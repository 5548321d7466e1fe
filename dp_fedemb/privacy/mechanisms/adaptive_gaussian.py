"""Gaussian noise with a clip norm that follows a quantile of the update norms."""

import dataclasses
import math
from typing import Optional

from dp_fedemb import validate
from dp_fedemb.privacy.mechanisms import base


@dataclasses.dataclass(frozen=True)
class AdaptiveGaussian(base.Mechanism):
    """Andrew et al. (2019, arXiv 1905.03871): C tracks a quantile of the norms.

    A round releases two sums: the clipped updates with noise of standard deviation
    `sum_noise_multiplier` * C, and the number of unclipped records, each counted as
    +1/2 or -1/2, with noise of standard deviation sigma_b. `noise_multiplier` is z of
    the two together, against a record that disappears, which moves them by C and 1/2:

        1 / z^2 = 1 / sum_noise_multiplier^2 + 1 / (2 sigma_b)^2.

    A record that becomes another (k > 1, or replace-one) moves them by 2C and 1, both
    twice as far, so that the pair is a Gaussian of multiplier z / 2 with the same split.
    A record that becomes empty moves them by C and 1; no multiple of z states that,
    and `noise_over_sensitivity` computes it.

    Attributes:
        clip_norm: C of the first round.
        target_unclipped_quantile: fraction of updates that C is to leave alone.
        adaptive_clip_learning_rate: of C <- C exp(-rate (fraction - target)).
        clipped_count_stddev: sigma_b; None for a twentieth of the cohort, the
            paper's choice, which the plan fills in.
    """

    name = 'adaptive_gaussian'
    released = ('the clip norm of every round, from noised counts of unclipped updates',)

    target_unclipped_quantile: float = 0.5
    adaptive_clip_learning_rate: float = 0.2
    clipped_count_stddev: Optional[float] = None

    def __post_init__(self):
        super().__post_init__()
        base.require_noise_and_clip(self)
        check_quantile_fields(self)
        sigma_b = self.clipped_count_stddev
        if sigma_b is not None and self.noise_multiplier >= 2 * sigma_b:
            raise ValueError(
                f'clipped_count_stddev={self.clipped_count_stddev} with noise_multiplier='
                f'{self.noise_multiplier}: the count alone would cost more than z allows;'
                f' expected more than {self.noise_multiplier / 2:g}'
            )

    @property
    def sum_noise_multiplier(self) -> float:
        """z_delta: noise on the sum of updates over C, above z by the count's share."""
        sigma_b = self._resolved_count_stddev()
        return (self.noise_multiplier**-2 - (2 * sigma_b) ** -2) ** -0.5

    @property
    def max_noise_multiplier(self) -> float:
        return 2 * self._resolved_count_stddev()

    def for_cohort(self, virtual_clients):
        if self.clipped_count_stddev is not None:
            return self
        sigma_b = default_count_stddev(virtual_clients)
        if self.noise_multiplier >= 2 * sigma_b:
            # m / 20 > z / 2.
            smallest = math.floor(10 * self.noise_multiplier) + 1
            raise ValueError(
                f'mechanism={self.name} with noise_multiplier={self.noise_multiplier} and'
                f' {virtual_clients:g} virtual clients a round: so few that the noise of their'
                f' count (cohort / 20) uses up all privacy; expected at least {smallest}'
                ' virtual clients a round, or set clipped_count_stddev above'
                f' {self.noise_multiplier / 2:g}'
            )
        return dataclasses.replace(self, clipped_count_stddev=sigma_b)

    def scaled(self, factor):
        return scaled_with_count(self, factor)

    def noise_over_sensitivity(self, change):
        of_sum = change.update / self.sum_noise_multiplier
        of_count = change.count / self._resolved_count_stddev()
        return 1 / math.hypot(of_sum, of_count)

    def _resolved_count_stddev(self):
        return resolved_count_stddev(self)


def default_count_stddev(virtual_clients: float) -> float:
    """A twentieth of the cohort (Andrew et al. 2019, section 3.1)."""
    return virtual_clients / 20


def resolved_count_stddev(mechanism: base.Mechanism) -> float:
    """Returns sigma_b.

    Raises:
        ValueError: if it was left to the cohort and no plan has filled it in.
    """
    if mechanism.clipped_count_stddev is None:
        raise ValueError(
            'clipped_count_stddev=None: it follows from the cohort; take the mechanism from'
            ' a PrivacyPlan, or call for_cohort(virtual_clients)'
        )
    return mechanism.clipped_count_stddev


def scaled_with_count(mechanism: base.Mechanism, factor: float) -> base.Mechanism:
    """Returns a mechanism with the noise of both, sum and count, multiplied."""
    return dataclasses.replace(
        mechanism,
        noise_multiplier=mechanism.noise_multiplier * factor,
        clipped_count_stddev=resolved_count_stddev(mechanism) * factor,
    )


def check_quantile_fields(mechanism: base.Mechanism) -> None:
    """Raises ValueError for a bad quantile, learning rate or sigma_b."""
    validate.probability(target_unclipped_quantile=mechanism.target_unclipped_quantile)
    validate.positive(adaptive_clip_learning_rate=mechanism.adaptive_clip_learning_rate)
    if mechanism.clipped_count_stddev is not None:
        validate.positive(clipped_count_stddev=mechanism.clipped_count_stddev)

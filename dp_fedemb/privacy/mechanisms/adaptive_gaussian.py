"""Gaussian noise with a clip norm that follows a quantile of the update norms."""

import dataclasses
import math

from dp_fedemb.privacy import sensitivity
from dp_fedemb.privacy.mechanisms import base
from dp_fedemb.privacy.mechanisms import quantile_clip


@dataclasses.dataclass(frozen=True)
class AdaptiveGaussian(quantile_clip.QuantileClip):
    """Andrew et al. (2019, arXiv 1905.03871): both sums of every round are noised.

    A round releases two sums: the clipped updates with noise of standard deviation
    `sum_noise_multiplier` * C, and the number of unclipped records, each counted as
    +1/2 or -1/2, with noise of standard deviation sigma_b. `noise_multiplier` is z of
    the two together, against a record that disappears, which moves them by C and 1/2:

        1 / z^2 = 1 / sum_noise_multiplier^2 + 1 / (2 sigma_b)^2.

    A record that becomes another (replaced, or of others of its virtual client) moves
    them by 2C and 1, both twice as far, so that the pair is a Gaussian of multiplier
    z / 2 with the same split. A record that becomes empty moves them by C and 1; no
    multiple of z states that, and `noise_over_sensitivity` computes it.
    """

    name = 'adaptive_gaussian'
    released = ('the clip norm of every round, from noised counts of unclipped updates',)

    def __post_init__(self) -> None:
        super().__post_init__()
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
        return (self.noise_multiplier**-2 - (2 * self.count_stddev) ** -2) ** -0.5

    @property
    def max_noise_multiplier(self) -> float:
        return 2 * self.count_stddev

    def for_cohort(self, virtual_clients: float) -> base.Mechanism:
        if self.clipped_count_stddev is None and self.noise_multiplier >= virtual_clients / 10:
            # m / 20 > z / 2.
            smallest = math.floor(10 * self.noise_multiplier) + 1
            raise ValueError(
                f'mechanism={self.name} with noise_multiplier={self.noise_multiplier} and'
                f' {virtual_clients:g} virtual clients a round: so few that the noise of their'
                f' count (cohort / 20) uses up all privacy; expected at least {smallest}'
                ' virtual clients a round, or set clipped_count_stddev above'
                f' {self.noise_multiplier / 2:g}'
            )
        return super().for_cohort(virtual_clients)

    def noise_over_sensitivity(self, change: sensitivity.RecordChange) -> float:
        of_sum = change.update / self.sum_noise_multiplier
        of_count = change.count / self.count_stddev
        return 1 / math.hypot(of_sum, of_count)

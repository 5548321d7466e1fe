"""Gaussian mechanism whose clip norm follows a quantile of the update norms.

Andrew et al. (2019, arXiv 1905.03871), Algorithm 1, with the geometric update. How z
is split between the sum and the count is stated and accounted in
`dp_fedemb.privacy.mechanisms.adaptive_gaussian`.
"""

from typing import Any

import dp_accounting
import tensorflow as tf

from dp_fedemb.aggregation import gaussian
from dp_fedemb.aggregation import noise as noise_lib
from dp_fedemb.aggregation import quantile
from dp_fedemb.aggregation import sum_query


class AdaptiveGaussianSumQuery(quantile.QuantileSumQuery):
    """Noised sum of records clipped to a C that moves after every round."""

    def initial_global_state(self) -> gaussian.GaussianState:
        return gaussian.first_state(self._clip_norm, self.noise)

    def get_noised_result(
        self, sample_state: Any, global_state: gaussian.GaussianState
    ) -> tuple[Any, gaussian.GaussianState, dp_accounting.DpEvent]:
        total, count = sample_state
        clip_norm, noise, round_num, attempt = global_state
        drawn = self.noise.draw(
            noise,
            (noise_lib.UPDATE, round_num, attempt),
            self.noise_units,
            self.dimension,
        )
        # By the C that this round was clipped to, not by the one it leads to.
        result = self._grid.to_float(sum_query.add_vector(total, drawn), clip_norm)
        fraction = self._noised_fraction(count, noise, round_num, attempt)
        new_state = gaussian.GaussianState(
            self._moved_clip(clip_norm, fraction), noise, round_num + 1, tf.zeros_like(attempt)
        )
        # Of one record that disappears, sum and count together.
        event = dp_accounting.GaussianDpEvent(self._mechanism.noise_multiplier)
        return result, new_state, event


build = AdaptiveGaussianSumQuery

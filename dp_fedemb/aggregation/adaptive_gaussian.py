"""Gaussian mechanism whose clip norm follows a quantile of the update norms.

Andrew et al. (2019, arXiv 1905.03871), Algorithm 1, with the geometric update. How z
is split between the sum and the count is stated and accounted in
`dp_fedemb.privacy.mechanisms.adaptive_gaussian`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import dp_accounting
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import quantile
from dp_fedemb.aggregation import sum_query


class AdaptiveGaussianState(NamedTuple):
    """State between rounds; `seed` is secret, `clip_norm` is a private release."""

    clip_norm: Any
    seed: Any
    round_num: Any


class AdaptiveGaussianSumQuery(quantile.QuantileSumQuery):
    """Noised sum of records clipped to a C that moves after every round."""

    def __init__(
        self,
        mechanism: privacy.AdaptiveGaussian,
        virtual_clients: float,
        noise_stddev: float,
        count_stddev: float,
        seed: Sequence[int],
    ):
        """Initialises the query.

        Args:
            mechanism: with `clipped_count_stddev` filled in, as a plan does.
            virtual_clients: m, public divisor of the count.
            noise_stddev: of the noise on the sum while C is `mechanism.clip_norm`.
            count_stddev: of the noise on the count.
            seed: int64 [2], secret key of the noise.
        """
        self._mechanism = mechanism
        self._virtual_clients = virtual_clients
        self._sum_noise_over_clip = noise_stddev / mechanism.clip_norm
        self._count_stddev = count_stddev
        self._seed = [int(word) for word in seed]

    def initial_global_state(self) -> AdaptiveGaussianState:
        return AdaptiveGaussianState(
            clip_norm=tf.constant(self._mechanism.clip_norm, tf.float32),
            seed=tf.constant(self._seed, tf.int64),
            round_num=tf.constant(0, tf.int64),
        )

    def get_noised_result(self, sample_state, global_state: AdaptiveGaussianState):
        total, count = sample_state
        clip_norm, seed, round_num = global_state
        # By the C that this round was clipped to, not by the one it leads to.
        result = sum_query.add_gaussian_noise(
            total,
            self._sum_noise_over_clip * clip_norm,
            seed,
            round_num,
            first_stream=quantile.UPDATE_STREAM,
        )
        fraction = quantile.noised_fraction(
            count, self._count_stddev, self._virtual_clients, seed, round_num
        )
        new_clip_norm = quantile.moved_clip(
            clip_norm,
            fraction,
            self._mechanism.target_unclipped_quantile,
            self._mechanism.adaptive_clip_learning_rate,
        )
        new_state = AdaptiveGaussianState(new_clip_norm, seed, round_num + 1)
        # Of one record that disappears, sum and count together.
        event = dp_accounting.GaussianDpEvent(self._mechanism.noise_multiplier)
        return result, new_state, event


def build(
    run: privacy.PrivateRun, record_specs: sum_query.RecordSpecs
) -> AdaptiveGaussianSumQuery:
    """Returns the query of a run with mechanism adaptive_gaussian."""
    del record_specs
    plan = run.plan
    return AdaptiveGaussianSumQuery(
        plan.mechanism,
        float(plan.virtual_clients_per_round),
        plan.noise_stddev,
        plan.mechanism.clipped_count_stddev * plan.noise_scale,
        run.tf_noise_key(),
    )

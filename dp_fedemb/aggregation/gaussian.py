"""Gaussian mechanism: clip each record to C, sum, add N(0, (z C)^2) to the sum.

McMahan et al. (2018, arXiv 1710.06963), Algorithm 1; in DP-FedEmb (Xu et al.,
CVPR 2023, Algorithm 1) a record is one virtual client's backbone update. The
same query serves clip-only (z = 0) and no privacy (C infinite, z = 0).
"""

from typing import Any, NamedTuple

import dp_accounting
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import noise as noise_lib
from dp_fedemb.aggregation import sum_query


class GaussianState(NamedTuple):
    """State between rounds; `noise` is secret, a `clip_norm` that moves a private release."""

    clip_norm: Any
    noise: Any
    round_num: Any
    attempt: Any


def first_state(clip_norm: float, noise: noise_lib.NoiseSource) -> GaussianState:
    """Returns the state before the first round."""
    return GaussianState(
        clip_norm=tf.constant(clip_norm, tf.float32),
        noise=noise.initial_state(),
        round_num=tf.constant(0, tf.int64),
        attempt=tf.constant(0, tf.int64),
    )


class GaussianSumQuery(sum_query.ClippedSumQuery):
    """Noised sum of clipped records, its noise named by the round."""

    def __init__(
        self,
        clip_norm: float,
        noise_stddev: float,
        record_specs: sum_query.RecordSpecs,
        noise: noise_lib.NoiseSource,
    ):
        """Initialises the query.

        Args:
            clip_norm: L2 bound C of one record, units of the weights.
            noise_stddev: standard deviation per coordinate of the noise on the
                sum, units of the weights (z * C).
            record_specs: of the tensors of one record.
            noise: source of the noise.

        Raises:
            ValueError: if noise is asked for without a finite clip.
        """
        if noise_stddev > 0 and not clip_norm < float('inf'):
            raise ValueError(
                f'noise_stddev={noise_stddev!r} with clip_norm={clip_norm!r}: noise bounds'
                ' nothing without a finite clip; set clip_norm'
            )
        super().__init__(clip_norm, noise_stddev, record_specs, noise)

    def initial_global_state(self) -> GaussianState:
        return first_state(self._clip_norm, self.noise)

    def get_noised_result(
        self, sample_state: Any, global_state: GaussianState
    ) -> tuple[Any, GaussianState, dp_accounting.DpEvent]:
        clip_norm, noise, round_num, attempt = global_state
        # Decided while building: a graph without noise has no random op at all.
        if self._noise_over_clip > 0:
            drawn = self.noise.draw(
                noise,
                (noise_lib.UPDATE, round_num, attempt),
                self.noise_units,
                self.dimension,
            )
            sample_state = sum_query.add_vector(sample_state, drawn)
        new_state = GaussianState(clip_norm, noise, round_num + 1, tf.zeros_like(attempt))
        # Of one record against the clip norm; the sampling, and what a user can
        # change, are the privacy plan's to add.
        event = dp_accounting.GaussianDpEvent(self._noise_over_clip)
        return self._grid.to_float(sample_state, clip_norm), new_state, event

    def draws(self, rounds: int) -> float:
        return float(rounds * self.dimension) if self._noise_over_clip > 0 else 0.0


def build(
    run: privacy.PrivateRun,
    record_specs: sum_query.RecordSpecs,
    noise: noise_lib.NoiseSource,
) -> GaussianSumQuery:
    """Returns the query of a run with mechanism gaussian, clip_only or none."""
    plan = run.plan
    return GaussianSumQuery(plan.mechanism.clip_norm, plan.noise_stddev, record_specs, noise)

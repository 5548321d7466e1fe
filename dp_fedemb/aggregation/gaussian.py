"""Gaussian mechanism: clip each record to C, sum, add N(0, (z C)^2) to the sum.

McMahan et al. (2018, arXiv 1710.06963), Algorithm 1; in DP-FedEmb (Xu et al.,
CVPR 2023, Algorithm 1) a record is one virtual client's backbone update. The
same query serves clip-only (z = 0) and no privacy (C infinite, z = 0).
"""

from typing import Any, NamedTuple

import dp_accounting
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import sum_query


class GaussianState(NamedTuple):
    """State between rounds; `seed` is secret."""

    clip_norm: Any
    noise_stddev: Any
    seed: Any
    round_num: Any


class GaussianSumQuery(sum_query.ClippedSumQuery):
    """Noised sum of clipped records, its noise keyed by seed and round."""

    def __init__(self, clip_norm: float, noise_stddev: float, seed):
        """Initialises the query.

        Args:
            clip_norm: L2 bound C of one record, units of the weights.
            noise_stddev: standard deviation per coordinate of the noise on the
                sum, units of the weights (z * C).
            seed: int64 [2], secret key of the noise.

        Raises:
            ValueError: if noise is asked for without a finite clip.
        """
        if noise_stddev > 0 and not clip_norm < float('inf'):
            raise ValueError(
                f'noise_stddev={noise_stddev!r} with clip_norm={clip_norm!r}: noise bounds'
                ' nothing without a finite clip; set clip_norm'
            )
        self._clip_norm = clip_norm
        self._noise_stddev = noise_stddev
        self._seed = [int(word) for word in seed]

    def initial_global_state(self) -> GaussianState:
        return GaussianState(
            clip_norm=tf.constant(self._clip_norm, tf.float32),
            noise_stddev=tf.constant(self._noise_stddev, tf.float32),
            seed=tf.constant(self._seed, tf.int64),
            round_num=tf.constant(0, tf.int64),
        )

    def get_noised_result(self, sample_state, global_state: GaussianState):
        result = sample_state
        # Decided while building: a graph without noise has no random op at all.
        if self._noise_stddev > 0:
            result = sum_query.add_gaussian_noise(
                sample_state,
                global_state.noise_stddev,
                global_state.seed,
                global_state.round_num,
            )
        new_state = global_state._replace(round_num=global_state.round_num + 1)
        # Of one record against the clip norm; the sampling, and what a user can
        # change, are the privacy plan's to add.
        ratio = self._noise_stddev / self._clip_norm
        event = dp_accounting.GaussianDpEvent(ratio)
        return result, new_state, event


def build(run: privacy.PrivateRun, record_specs: sum_query.RecordSpecs) -> GaussianSumQuery:
    """Returns the query of a run with mechanism gaussian, clip_only or none."""
    del record_specs
    plan = run.plan
    return GaussianSumQuery(plan.mechanism.clip_norm, plan.noise_stddev, run.tf_noise_key())

"""Clipped sums with the correlated noise of a strategy: banded, bisr and blt.

What it costs is accounted in `dp_fedemb.privacy.mechanisms.correlated`; how the noise is
made, and why what is released is exactly what is accounted, is in `correlated_noise`.
"""

from typing import Any, NamedTuple

import dp_accounting
import numpy as np
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import combined_gaussian
from dp_fedemb.aggregation import correlated_noise
from dp_fedemb.aggregation import noise as noise_lib
from dp_fedemb.aggregation import sum_query


class CorrelatedState(NamedTuple):
    """State between rounds; all noise of earlier rounds follows from the run's keys.

    `attempts` are those of all planned rounds, since later rounds make use of their draws.
    """

    clip_norm: Any
    round_num: Any
    attempts: Any


class CorrelatedSumQuery(sum_query.ClippedSumQuery):
    """Sum of clipped records with the round's row of C^-1 Z."""

    def __init__(
        self,
        run: privacy.PrivateRun,
        mechanism: privacy.Correlated,
        record_specs: sum_query.RecordSpecs,
        noise: noise_lib.NoiseSource,
    ) -> None:
        """Initialises the query.

        Args:
            run: noise, planned rounds and keys.
            mechanism: clip and strategy.
            record_specs: of the tensors of one record.
            noise: source of the noise, on the driver.

        Raises:
            ValueError: for noise that is drawn in a graph.
        """
        if noise.in_graph:
            raise ValueError(
                f'mechanism={mechanism.name}: its noise is drawn on the driver, not in a'
                ' graph that runs elsewhere; train with an engine (runs.Experiment,'
                ' bin/train.py), or choose mechanism=tree'
            )
        super().__init__(mechanism.clip_norm, run.plan.noise_stddev, record_specs, noise)
        self._rounds = run.plan.rounds
        self._made = correlated_noise.CorrelatedNoise(
            mechanism.resolved_strategy(),
            self.noise_units,
            self.dimension,
            lambda name: run.noise_key(noise_lib.UPDATE, *name),
        )

    def initial_global_state(self) -> CorrelatedState:
        return CorrelatedState(
            clip_norm=tf.constant(self._clip_norm, tf.float32),
            round_num=tf.constant(0, tf.int64),
            attempts=tf.zeros([self._rounds], tf.int64),
        )

    def with_attempt(self, global_state: CorrelatedState, attempt: int) -> CorrelatedState:
        """See `ClippedSumQuery.with_attempt`.

        Raises:
            ValueError: for another attempt than 0 of a round beyond the planned ones.
        """
        round_num = int(global_state.round_num)
        if attempt != 0 and round_num >= self._rounds:
            raise ValueError(
                f'attempt={attempt} of round {round_num}: the attempts of the {self._rounds}'
                ' planned rounds are kept only; plan more rounds'
            )
        attempts = np.array(global_state.attempts)
        attempts[round_num : round_num + 1] = attempt
        return global_state._replace(attempts=tf.constant(attempts))

    def get_noised_result(
        self, sample_state: Any, global_state: CorrelatedState
    ) -> tuple[Any, CorrelatedState, dp_accounting.DpEvent]:
        clip_norm, round_num, attempts = global_state
        drawn = tf.numpy_function(
            lambda number, tries: self._made.noise(int(number), tries),
            [round_num, attempts],
            tf.int64,
        )
        drawn = tf.ensure_shape(drawn, [self.dimension])
        result = self._grid.to_float(sum_query.add_vector(sample_state, drawn), clip_norm)
        new_state = global_state._replace(round_num=round_num + 1)
        # No round has an event of its own: the plan's is that of all rounds together.
        return result, new_state, dp_accounting.UnsupportedDpEvent()

    def draws(self, rounds: int) -> float:
        return float(rounds * self.dimension)

    def statistical_distance(self, rounds: int) -> float:
        return combined_gaussian.statistical_distance(self.draws(rounds))


def build(
    run: privacy.PrivateRun,
    record_specs: sum_query.RecordSpecs,
    noise: noise_lib.NoiseSource,
) -> CorrelatedSumQuery:
    """Returns the query of a run with mechanism banded, bisr or blt."""
    mechanism = run.plan.mechanism
    if not isinstance(mechanism, privacy.Correlated):
        raise TypeError(f'mechanism={mechanism!r}: expected one with a strategy')
    return CorrelatedSumQuery(run, mechanism, record_specs, noise)

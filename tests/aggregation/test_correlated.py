"""The correlated mechanism as engines call it: a compiled step on sums of tensors."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import correlated
from dp_fedemb.aggregation import noise as noise_lib

ROUNDS = 6
SPECS = [tf.TensorSpec(shape) for shape in ([9, 1024], [256], [256, 32], [32])]
MECHANISMS = [
    privacy.Banded(0.5, 1.5, strategy_momentum=0.9),
    privacy.Bisr(0.5, 1.5, strategy_momentum=0.9, draws=3),
    privacy.Blt(0.5, 1.5, strategy_momentum=0.9, buffers=2),
]


@pytest.mark.parametrize('mechanism', MECHANISMS, ids=lambda mechanism: mechanism.name)
def test_sums_leave_no_trace_in_the_noise_of_later_rounds(make_plan, mechanism):
    """TensorFlow adds in place, in whichever tensor comes last: every run is another chance."""
    plan = make_plan(mechanism, num_users=400, rounds=ROUNDS)
    for seed in range(4):
        run = privacy.PrivateRun(plan, 2**70 + seed)
        query, alone = (
            correlated.build(run, SPECS, noise_lib.DriverNoise(run)) for _ in range(2)
        )
        step = tf.function(lambda total, state, q=query: q.get_noised_result(total, state)[:2])
        state = query.initial_global_state()
        zeros = query.initial_sample_state(SPECS)
        added = tf.nest.map_structure(lambda part: part + tf.cast(2**30, part.dtype), zeros)
        for round_num in range(ROUNDS):
            before = state
            released, state = step(added, before)
            # What a query has that saw no sum, and what this one adds to none.
            (expected, _), (again, _) = (
                q.get_noised_result(added, before)[:2] for q in (alone, query)
            )
            for parts in zip(*map(tf.nest.flatten, (released, expected, again)), strict=True):
                for part in parts[1:]:
                    np.testing.assert_array_equal(parts[0], part, f'round {round_num}')
        np.testing.assert_array_equal(
            query._made.noise(ROUNDS - 1, [0] * ROUNDS),
            correlated.build(run, SPECS, noise_lib.DriverNoise(run))._made.noise(
                ROUNDS - 1, [0] * ROUNDS
            ),
        )

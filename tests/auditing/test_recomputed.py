"""Noise that is recomputed by other code is that of the mechanisms, and of no other."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import build as build_lib
from dp_fedemb.aggregation import noise as noise_lib
from dp_fedemb.auditing.rounds import recomputed

ROUNDS, SIZE, SEED = 9, 300, 2**100 + 7
MECHANISMS = [
    privacy.Gaussian(0.5, 1.5),
    privacy.AdaptiveGaussian(0.5, 1.5),
    privacy.Banded(0.5, 1.5, strategy_momentum=0.9, bands=3),
    privacy.Bisr(0.5, 1.5, strategy_momentum=0.9, draws=3),
    privacy.Blt(0.5, 1.5, strategy_momentum=0.9, buffers=2),
    privacy.Tree(0.5, 1.5),
    privacy.Tree(0.5, 1.5, efficient=False),
    privacy.Tree(0.5, 1.5, restart_rounds=3, tree_completion=True),
    privacy.Tree(0.5, 1.5, restart_rounds=4),
]


def plan_of(mechanism):
    sampling = privacy.Poisson()
    if not mechanism.independent_rounds:
        sampling = privacy.MinSeparation()
    return privacy.PrivacyPlan(640, 32, 2, ROUNDS, mechanism, sampling)


def drawn(plan, attempts):
    """What the mechanism releases of empty sums, over C."""
    run = privacy.PrivateRun(plan, SEED)
    specs = [tf.TensorSpec([SIZE])]
    query = build_lib.SUM_QUERIES[plan.mechanism.name](run, specs, noise_lib.DriverNoise(run))
    state, found = query.initial_global_state(), []
    empty = query.initial_sample_state(specs)
    for attempt in attempts:
        state = query.with_attempt(state, attempt)
        clip_norm = float(state.clip_norm)
        released, state, _ = query.get_noised_result(empty, state)
        (released,) = tf.nest.flatten(released)
        found.append(np.asarray(released, np.float64) / clip_norm)
    return found


@pytest.mark.parametrize('mechanism', MECHANISMS, ids=repr)
def test_it_is_that_of_the_mechanism_in_every_round_and_attempt(mechanism):
    plan = plan_of(mechanism)
    scale = plan.noise_stddev / mechanism.clip_norm
    for attempts in ([0] * ROUNDS, [0, 2, 0, 0, 1, 0, 0, 3, 0]):
        seen = drawn(plan, attempts)
        expected = recomputed.noise(plan, SEED, attempts, SIZE)
        hidden = [np.full(SIZE, 1e-6)] * ROUNDS
        parts = [[each] for each in seen]
        found = recomputed.check('noise', parts, expected, [[h] for h in hidden], scale)
        assert not found.failed, found.seen


def test_of_whom_another_number_is_told():
    plan = plan_of(MECHANISMS[2])
    expected = recomputed.noise(plan, SEED, [0] * ROUNDS, SIZE)
    seen = [[each.copy()] for each in expected]
    nothing = [[np.zeros(SIZE)]] * ROUNDS

    def check():
        return recomputed.check('noise', seen, expected, nothing, 1.5)

    assert not check().failed
    seen[4][0][17] += 1e-3
    assert check().failed and 'round 5, layer 1' in check().seen
    seen[4][0][17] = np.nan
    assert check().failed
    others = recomputed.noise(plan, SEED + 1, [0] * ROUNDS, SIZE)
    assert recomputed.check('noise', seen, others, nothing, 1.5).failed

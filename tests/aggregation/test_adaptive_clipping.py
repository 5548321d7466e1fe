"""Adaptive clip norms: the count, the step, and what enters them."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.aggregation import quantile

SPECS = [tf.TensorSpec([3])]


def run(plan, norms_of_rounds, seed=5):
    """Returns the clip norms before each round and after the last."""
    query = aggregation.build_query(privacy.PrivateRun(plan, seed), SPECS)
    preprocess = tf.function(query.preprocess_record, reduce_retracing=True)
    state = query.initial_global_state()
    clips = [state.numerator_state.clip_norm.numpy()]
    for norms in norms_of_rounds:
        params = query.derive_sample_params(state)
        assert params == clips[-1]
        total = query.initial_sample_state(SPECS)
        for norm in norms:
            record = preprocess(params, [tf.constant([0.0, norm, 0.0])])
            total = query.accumulate_preprocessed_record(total, record)
        _, state, _ = query.get_noised_result(total, state)
        clips.append(state.numerator_state.clip_norm.numpy())
    return np.array(clips)


def quiet(plan, stddev=1e-3):
    """The plan with almost no noise on the count, for exact expectations."""
    tiny = dataclasses.replace(
        plan.mechanism, noise_multiplier=stddev, clipped_count_stddev=stddev
    )
    return dataclasses.replace(plan, mechanism=tiny)


@pytest.mark.parametrize(
    'norm, count', [(0.0, 0), (1e-9, 1), (0.5, 1), (0.5000001, -1), (9.0, -1)]
)
def test_count_of_one_record(norm, count):
    assert quantile.half_count(tf.constant(norm, tf.float64), tf.constant(0.5)) == count


def test_step_follows_the_formula(make_plan):
    # Five records of m = 8: three below C = 0.5, two above, so (3 - 2) / 2 / 8 + 1/2.
    clips = run(quiet(make_plan('adaptive_gaussian')), [[0.1, 0.2, 0.3, 0.9, 2.0]])
    fraction = 0.5 + 0.5 / 8
    np.testing.assert_allclose(clips[1], 0.5 * math.exp(-0.2 * (fraction - 0.5)), rtol=1e-4)


@pytest.mark.parametrize('quantile_', [0.2, 0.5, 0.8])
def test_norm_settles_at_the_quantile(make_plan, quantile_):
    plan = quiet(make_plan('adaptive_gaussian'))
    mechanism = dataclasses.replace(plan.mechanism, target_unclipped_quantile=quantile_)
    plan = dataclasses.replace(plan, mechanism=mechanism, virtual_clients_per_round=20)
    norms = np.linspace(0.05, 1.0, 20)
    clips = run(plan, [norms] * 40)
    np.testing.assert_allclose(clips[-10:].mean(), np.quantile(norms, quantile_), atol=0.06)


def test_empty_and_diverged_records_leave_the_norm_alone(make_plan):
    plan = quiet(make_plan('adaptive_gaussian'))
    with_nobody = run(plan, [[0.1, 0.9, 2.0, 0.0, 0.0, np.nan]])
    without = run(plan, [[0.1, 0.9, 2.0]])
    np.testing.assert_array_equal(with_nobody, without)


def test_count_noise_is_split_as_accounted(make_plan):
    mechanism = make_plan('adaptive_gaussian').mechanism
    assert mechanism.sum_noise_multiplier > mechanism.noise_multiplier
    removed = privacy.mechanisms.adaptive_gaussian.base.sensitivity.REMOVED
    np.testing.assert_allclose(
        mechanism.noise_over_sensitivity(removed), mechanism.noise_multiplier
    )


def test_tree_adapts_at_restarts_only(make_plan):
    plan = quiet(make_plan('tree_adaptive'))  # Restarts after 3 rounds.
    # All below the norm, then all above it, then one of each; then a second tree.
    rounds = [[0.1] * 8, [0.9] * 8, [0.1, 0.9], [0.1] * 8, [0.1] * 8, [0.1] * 8]
    clips = run(plan, rounds)
    assert len(set(clips[:3])) == 1 and len(set(clips[3:6])) == 1
    np.testing.assert_allclose(clips[3], 0.5, rtol=1e-3)
    np.testing.assert_allclose(clips[6], clips[3] * math.exp(-0.2 * 0.5), rtol=1e-3)


def test_noise_on_the_sum_follows_the_norm_of_the_round(make_plan):
    for name in ('adaptive_gaussian', 'tree_adaptive'):
        plan = make_plan(name)
        specs = [tf.TensorSpec([500])]
        query = aggregation.build_query(privacy.PrivateRun(plan, 5), specs)
        state = query.initial_global_state()
        zero = query.initial_sample_state(specs)
        doubled = state._replace(
            numerator_state=state.numerator_state._replace(clip_norm=tf.constant(1.0))
        )
        noise, _, _ = query.get_noised_result(zero, state)
        noise_at_double, _, _ = query.get_noised_result(zero, doubled)
        np.testing.assert_allclose(noise_at_double[0], 2 * noise[0], rtol=1e-5)

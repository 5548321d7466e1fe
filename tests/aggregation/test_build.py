"""Every mechanism of the privacy package as a query and as a TFF factory."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.aggregation import gaussian
from dp_fedemb.aggregation import noise
from dp_fedemb.aggregation import tree
from dp_fedemb.aggregation import tree_noise

ALL = sorted(privacy.MECHANISMS)
# Whose noise can be drawn in a graph.
IN_GRAPH = sorted(
    name for name, cls in privacy.MECHANISMS.items() if not issubclass(cls, privacy.Correlated)
)
PRIVATE = sorted(name for name, cls in privacy.MECHANISMS.items() if cls.private)
SPECS = [tf.TensorSpec([40, 5]), tf.TensorSpec([7])]
NO_TREES = tree_noise.TreeNoise(None, False, True, 16)
NOISE = noise.GraphNoise((1, 2))


def release_zero(query, state):
    result, state, _ = query.get_noised_result(query.initial_sample_state(SPECS), state)
    return np.concatenate([leaf.numpy().ravel() for leaf in result]), state


def releases(query, rounds, state=None):
    state = query.initial_global_state() if state is None else state
    results = []
    for _ in range(rounds):
        result, state = release_zero(query, state)
        results.append(result)
    return np.array(results), state


def test_every_mechanism_has_a_computation():
    assert set(aggregation.SUM_QUERIES) == set(privacy.MECHANISMS)


@pytest.mark.parametrize('name', ALL)
def test_result_is_the_sum_over_the_public_constant(name, make_plan):
    plan = make_plan(name)
    query = aggregation.build_query(privacy.PrivateRun(plan, 3), SPECS)
    state = query.initial_global_state()
    params = query.derive_sample_params(state)
    # Three records although m = 8: who took part must not enter the divisor.
    total = query.initial_sample_state(SPECS)
    for sign in (1.0, 1.0, -1.0):
        record = [sign * 1e-3 * tf.ones(spec.shape) for spec in SPECS]
        record = query.preprocess_record(params, record)
        total = query.accumulate_preprocessed_record(total, record)
    noised, _, _ = query.get_noised_result(total, state)
    noise, _ = release_zero(query, state)
    difference = np.concatenate([leaf.numpy().ravel() for leaf in noised]) - noise
    np.testing.assert_allclose(difference, 1e-3 / 8, rtol=1e-3)
    assert (np.abs(noise).max() > 0) == plan.private


@pytest.mark.parametrize('name', PRIVATE)
def test_noise_is_a_function_of_seed_and_round(name, make_plan):
    query = aggregation.build_query(privacy.PrivateRun(make_plan(name), 3), SPECS)
    once, _ = releases(query, 7)
    # Resumed after round 4 from a state that went through NumPy, as in a checkpoint.
    head, state = releases(query, 4)
    state = tf.nest.map_structure(lambda tensor: tensor.numpy(), state)
    tail, _ = releases(
        aggregation.build_query(privacy.PrivateRun(make_plan(name), 3), SPECS), 3, state
    )
    np.testing.assert_array_equal(once, np.concatenate([head, tail]))
    other, _ = releases(
        aggregation.build_query(privacy.PrivateRun(make_plan(name), 4), SPECS), 7
    )
    for rows in (once, np.concatenate([once[:1], other[:1]])):
        correlations = np.corrcoef(rows)
        assert np.abs(correlations[~np.eye(len(rows), dtype=bool)]).max() < 0.75
    # No coordinate gets the same noise as another one, or twice.
    assert len(np.unique(once)) == once.size


@pytest.mark.parametrize('name', PRIVATE)
def test_larger_cohort_scales_all_noise(name, make_plan):
    mechanism = make_plan(name).mechanism
    if hasattr(mechanism, 'clipped_count_stddev'):
        # The noise of the count shows in the clip norm and hardly in the next noise.
        mechanism = dataclasses.replace(mechanism, adaptive_clip_learning_rate=0.01)
    run = aggregation.build_query(privacy.PrivateRun(make_plan(mechanism), 3), SPECS)
    simulated_plan = make_plan(mechanism, noise_cohort_size=32)
    simulated = aggregation.build_query(privacy.PrivateRun(simulated_plan, 3), SPECS)
    assert simulated_plan.noise_scale == 0.25
    ours, state = releases(run, 3)
    theirs, simulated_state = releases(simulated, 3)
    np.testing.assert_allclose(theirs, ours * 0.25, rtol=0.01, atol=1e-6)
    if hasattr(mechanism, 'clipped_count_stddev'):
        moved, scaled = (
            np.log(one.numerator_state.clip_norm.numpy() / 0.5)
            for one in (state, simulated_state)
        )
        assert abs(moved) > 1e-5
        np.testing.assert_allclose(scaled, moved * 0.25, rtol=0.01, atol=2e-7)


@pytest.mark.parametrize('name', IN_GRAPH)
def test_factory_serves_stock_tff(name, make_plan):
    factory = aggregation.build_aggregation_factory(privacy.PrivateRun(make_plan(name), 3))
    assert isinstance(factory, tff.aggregators.UnweightedAggregationFactory)
    value_type = tff.to_type([(np.float32, [2, 3]), (np.float32, [4])])
    process = factory.create(value_type)
    result = process.next.type_signature.result.result
    assert result == tff.FederatedType(value_type, tff.SERVER)


@pytest.mark.parametrize('name', sorted(set(ALL) - set(IN_GRAPH)))
def test_noise_of_strategies_is_refused_in_a_graph(name, make_plan):
    factory = aggregation.build_aggregation_factory(privacy.PrivateRun(make_plan(name), 3))
    with pytest.raises(ValueError, match=f'mechanism={name}: its noise is drawn on the driver'):
        factory.create(tff.to_type([(np.float32, [2, 3])]))


@pytest.mark.parametrize(
    'build',
    [
        lambda: gaussian.GaussianSumQuery(np.inf, 1.0, SPECS, NOISE),
        lambda: tree.TreeSumQuery(np.inf, 1.0, NO_TREES, SPECS, NOISE),
        lambda: tree.TreeSumQuery(1.0, 0.0, NO_TREES, SPECS, NOISE),
    ],
)
def test_noise_without_clip_or_the_reverse_is_refused(build):
    with pytest.raises(ValueError, match='clip'):
        build()

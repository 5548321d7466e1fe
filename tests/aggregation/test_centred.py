"""Clipping around a public update: the formula, the bounds, and what is not there."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.aggregation import centred

CLIP_NORM, COHORT = 0.5, 4
SPECS = [tf.TensorSpec([3]), tf.TensorSpec([2, 2])]
CENTRE = [np.full([3], 0.7, np.float32), np.full([2, 2], -0.4, np.float32)]


@pytest.fixture(scope='module')
def query(make_plan):
    plan = make_plan(privacy.ClipOnly(CLIP_NORM), virtual_clients_per_round=COHORT)
    inner = aggregation.build_query(privacy.PrivateRun(plan, 2**100), SPECS)
    return centred.CentredQuery(inner, SPECS)


@pytest.fixture(scope='module')
def release(query):
    """Function from records to (sum of contributions in units of weights, mean)."""
    state = query.with_centre(query.initial_global_state(), CENTRE)
    params = query.derive_sample_params(state)

    def compute(records):
        total = query.initial_sample_state(SPECS)
        for record in records:
            record = [tf.constant(part) for part in record]
            contribution = query.preprocess_record(params, record)
            total = query.accumulate_preprocessed_record(total, contribution)
        mean, _, _ = query.get_noised_result(total, state)
        return [part.numpy() for part in mean]

    return compute


def flat(record):
    return np.concatenate([np.ravel(part) for part in record]).astype(np.float64)


def records(count, scale):
    generator = np.random.default_rng(7)
    shapes = [spec.shape for spec in SPECS]
    return [
        [(scale * generator.normal(size=shape)).astype(np.float32) for shape in shapes]
        for _ in range(count)
    ]


@pytest.mark.parametrize('scale', [0.01, 1.0, 50.0])
def test_the_mean_is_the_centre_plus_the_clipped_differences(release, scale):
    found = flat(release(records(3, scale)))
    centre, total = flat(CENTRE), 0.0
    for record in records(3, scale):
        difference = flat(record) - centre
        total += difference * min(1, CLIP_NORM / np.linalg.norm(difference))
    np.testing.assert_allclose(found, centre + total / COHORT, atol=1e-5)


def test_an_update_that_public_data_foresee_is_not_clipped(release):
    foreseen = [[part + 0.01 for part in CENTRE]] * COHORT
    np.testing.assert_allclose(flat(release(foreseen)), flat(CENTRE) + 0.01, atol=1e-5)


@pytest.mark.parametrize('scale', [0.01, 1.0, 50.0])
def test_who_comes_or_goes_moves_the_sum_by_at_most_the_clip(release, scale):
    """Also a virtual client without examples, whose update is zero."""
    others, one, other = records(3, scale)[:1], *records(3, scale)[1:]
    nothing = [np.zeros_like(part) for part in CENTRE]
    sums = [
        COHORT * flat(release([*others, *extra])) for extra in ([], [one], [other], [nothing])
    ]
    without, with_one, with_other, with_nothing = sums
    np.testing.assert_array_equal(with_nothing, without)
    assert 0 < np.linalg.norm(with_one - without) <= CLIP_NORM + 1e-5
    assert 0 < np.linalg.norm(with_one - with_other) <= 2 * CLIP_NORM + 1e-5


def test_an_update_that_is_not_finite_contributes_nothing(release):
    broken = [np.full([3], np.nan, np.float32), np.zeros([2, 2], np.float32)]
    np.testing.assert_array_equal(flat(release([broken])), flat(release([])))


def test_the_norm_of_the_centre_is_stated(query):
    state = query.with_centre(query.initial_global_state(), CENTRE)
    metrics = query.derive_metrics(state)
    assert float(metrics['centre_norm']) == pytest.approx(
        np.linalg.norm(flat(CENTRE)), rel=1e-6
    )
    assert float(metrics['clip_norm']) == CLIP_NORM

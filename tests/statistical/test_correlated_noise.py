"""Noise of strategies over rounds: the covariance that is accounted, through the query."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.privacy.factorization import series

COORDINATES, ROUNDS = 6000, 14
NAMES = sorted(
    name for name, cls in privacy.MECHANISMS.items() if issubclass(cls, privacy.Correlated)
)


def released(plan):
    """Noise of each round on the SUM, in units of a draw's standard deviation."""
    specs = [tf.TensorSpec([COORDINATES - 10]), tf.TensorSpec([10])]
    query = aggregation.build_query(privacy.PrivateRun(plan, 29), specs)
    state = query.initial_global_state()
    rows = []
    for _ in range(ROUNDS):
        result, state, _ = query.get_noised_result(query.initial_sample_state(specs), state)
        rows.append(np.concatenate(result))
    return np.array(rows) * plan.virtual_clients_per_round / plan.noise_stddev


def check_covariance(noise, expected):
    """Fails if any entry is more than five standard errors off."""
    empirical = noise @ noise.T / noise.shape[1]
    variances = np.diag(expected)
    errors = np.sqrt((np.outer(variances, variances) + expected**2) / noise.shape[1])
    assert np.all(np.abs(empirical - expected) < 5 * errors)


@pytest.mark.parametrize('noise_cohort_size', [None, 32])
@pytest.mark.parametrize('name', NAMES)
def test_covariance_over_rounds(name, noise_cohort_size, make_plan):
    plan = make_plan(name, noise_cohort_size=noise_cohort_size)
    noise = released(plan)
    # Not from the recurrence, but from the matrix that is accounted.
    inverse = np.linalg.inv(series.matrix(plan.mechanism.strategy.column(ROUNDS), ROUNDS))
    expected = inverse @ inverse.T
    check_covariance(noise, expected)
    for factor in (2 / 3, 3 / 2):
        with pytest.raises(AssertionError):
            check_covariance(factor * noise, expected)
    # Independent noise is not it, nor is another strategy's.
    with pytest.raises(AssertionError):
        check_covariance(noise, np.eye(ROUNDS))


@pytest.mark.parametrize('name', NAMES)
def test_what_is_accounted_comes_back_independent(name, make_plan):
    """C times the noise is Z: white, of the claimed size, in every round."""
    plan = make_plan(name)
    draws = series.matrix(plan.mechanism.strategy.column(ROUNDS), ROUNDS) @ released(plan)
    check_covariance(draws, np.eye(ROUNDS))


@pytest.mark.parametrize('name', NAMES)
def test_prefix_sums_have_less_noise_than_independent(name, make_plan):
    sums = np.cumsum(released(make_plan(name)), axis=0)
    assert np.var(sums[-1]) < 0.5 * ROUNDS

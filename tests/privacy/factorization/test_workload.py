"""The error of the iterates, against SGD itself run on noise."""

import numpy as np
import pytest

from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.factorization import series
from dp_fedemb.privacy.factorization import workload as workload_lib

RATES = tuple(np.linspace(1.0, 0.1, 9))
NOISE = np.array([1.0, -0.6, 0.2])


def sgd(updates, momentum, rates, averaging=0.0):
    """The server's optimizer, one round at a time, and the average of its models."""
    model, velocity, models = 0.0, 0.0, []
    for update, rate in zip(updates, rates):
        velocity = momentum * velocity + update
        model = model + rate * velocity
        models.append(model)
    if not averaging:
        return np.array(models)
    weights = [averaging ** np.arange(t, -1, -1.0) for t in range(len(models))]
    averages = [weight @ models[: t + 1] / weight.sum() for t, weight in enumerate(weights)]
    return np.array(averages)


@pytest.mark.parametrize('averaging', [0.0, 0.6])
@pytest.mark.parametrize('momentum', [0.0, 0.9])
@pytest.mark.parametrize('rates', [None, RATES], ids=['constant', 'falling'])
def test_matrix_is_the_servers_sgd(momentum, rates, averaging):
    workload = workload_lib.Workload(9, momentum, rates, averaging)
    updates = np.random.default_rng(0).normal(size=9)
    expected = sgd(updates, momentum, rates or np.ones(9), averaging)
    np.testing.assert_allclose(workload.matrix() @ updates, expected)


@pytest.mark.parametrize('averaging', [0.0, 0.6])
@pytest.mark.parametrize('momentum', [0.0, 0.9])
@pytest.mark.parametrize('rates', [None, RATES], ids=['constant', 'falling'])
def test_error_is_that_of_the_matrices(momentum, rates, averaging):
    workload = workload_lib.Workload(9, momentum, rates, averaging)
    product = workload.matrix() @ series.matrix(NOISE, 9)
    error, gradient = workload.mean_squared_error(NOISE)
    np.testing.assert_allclose(error, np.sum(product**2) / 9)
    padded = np.pad(NOISE, (0, 6))
    for index in range(9):
        step = np.zeros(9)
        step[index] = 1e-6
        moved = workload.mean_squared_error(padded + step)[0]
        np.testing.assert_allclose((moved - error) / 1e-6, gradient[index], rtol=1e-3)


@pytest.mark.parametrize('averaging', [0.0, 0.5, 0.95])
def test_a_constant_rate_by_either_way_is_the_same(averaging):
    plain, written_out = (
        workload_lib.Workload(40, 0.9, rates, averaging).mean_squared_error(NOISE)
        for rates in (None, (1.0,) * 40)
    )
    np.testing.assert_allclose(plain[0], written_out[0])
    np.testing.assert_allclose(plain[1], written_out[1])


def test_rms_error_is_measured_on_draws():
    """Noise calibrated to the sensitivity, through SGD, on 20,000 weights."""
    workload, rounds = workload_lib.Workload(12, 0.9), 12
    schedule = participation_lib.ParticipationSchedule(4)
    strategy = np.array([1.0, 0.9, 0.5])
    draws = np.random.default_rng(2).normal(size=(rounds, 20_000))
    # Three participations whose columns do not meet, the last cut off by no round.
    draws *= (3 * np.sum(strategy**2)) ** 0.5
    noise = np.linalg.solve(series.matrix(strategy, rounds), draws)
    models = np.array([sgd(column, 0.9, np.ones(rounds)) for column in noise.T])
    expected = workload_lib.rms_error(workload, strategy, schedule)
    np.testing.assert_allclose(np.sqrt(np.mean(models**2)), expected, rtol=0.02)


@pytest.mark.parametrize(
    'arguments, match',
    [
        ((0,), 'rounds=0'),
        ((5, 1.0), 'momentum=1.0'),
        ((5, 0.0, None, 1.0), 'averaging=1.0: expected within'),
        ((5, 0.0, (1.0, 1.0)), 'rates of 2 rounds: expected one for each of 5'),
    ],
)
def test_bad_workloads_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        workload_lib.Workload(*arguments)


def test_rates_of_too_many_rounds_are_refused():
    workload = workload_lib.Workload(5000, 0.0, (1.0,) * 5000)
    with pytest.raises(ValueError, match='at most 4096; choose a constant rate'):
        workload.mean_squared_error(NOISE)

"""Strategies, errors and sensitivities against jax_privacy's.

The numbers were printed by `jax_privacy_factorizations.py`. Where both search for an
optimum, ours may be better, not worse.
"""

import numpy as np
import pytest

from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.factorization import banded
from dp_fedemb.privacy.factorization import blt
from dp_fedemb.privacy.factorization import sensitivity
from dp_fedemb.privacy.factorization import series
from dp_fedemb.privacy.factorization import strategy
from dp_fedemb.privacy.factorization import workload as workload_lib


@pytest.fixture(autouse=True)
def fine_coefficients(monkeypatch):
    """Coefficients as fine as those of jax_privacy, which rounds none."""
    monkeypatch.setattr(strategy, 'FRACTION_BITS', 24)


def check_optimum(found, golden):
    assert golden * (1 - 1e-3) < found < golden * (1 + 2e-6)


@pytest.mark.parametrize(
    'rounds, bands, golden',
    [
        (50, 1, 5.049752469181039),
        (50, 5, 2.7456221483695655),
        (100, 20, 2.5655662006784397),
        (200, 64, 2.6409516195236127),
    ],
)
def test_banded_for_prefix_sums_and_one_participation(rounds, bands, golden):
    workload = workload_lib.Workload(rounds)
    schedule = participation_lib.ParticipationSchedule(rounds)
    column = banded.optimal(workload, schedule, bands).column(rounds)
    check_optimum(workload_lib.rms_error(workload, column, schedule), golden)


@pytest.mark.parametrize(
    'rounds, separation, buffers, golden',
    [
        (100, 50, 1, 3.4332170778869906),
        (100, 50, 3, 3.395800711815746),
        (500, 50, 2, 11.49818296799634),
    ],
)
def test_blt_for_prefix_sums(rounds, separation, buffers, golden):
    workload = workload_lib.Workload(rounds)
    schedule = participation_lib.ParticipationSchedule(separation)
    column = blt.optimal(workload, schedule, buffers).column(rounds)
    check_optimum(workload_lib.rms_error(workload, column, schedule), golden)


@pytest.mark.parametrize(
    'noise, golden',
    [([1.0, -0.95], 18.434707243527825), ([1.0, -0.6, -0.1], 369.1097013734652)],
)
def test_error_with_momentum(noise, golden):
    error, _ = workload_lib.Workload(100, 0.9).mean_squared_error(np.array(noise))
    np.testing.assert_allclose(error, golden, rtol=1e-9)


@pytest.mark.parametrize(
    'separation, golden',
    [
        (1, 2311.126661799716),
        (7, 58.37171981388309),
        (20, 10.029047298471035),
        (60, 2.368222250670432),
    ],
)
def test_sensitivity_of_the_square_root(separation, golden):
    root = series.inverse(series.square_root(0.0, 60), 60)
    schedule = participation_lib.ParticipationSchedule(separation)
    np.testing.assert_allclose(sensitivity.squared(root, schedule, 60), golden, rtol=1e-9)


@pytest.mark.parametrize(
    'epochs, golden',
    [
        (1, 1.3711309200802089),
        (2, 1.9390719429665317),
        (4, 2.7422618401604177),
        (8, 4.7812132351527685),
    ],
)
def test_sensitivity_of_mixed_signs(epochs, golden):
    column = np.array([1.0, 0.7, -0.3, 0.2, 0.5, -0.1])
    schedule = participation_lib.ParticipationSchedule(24 // epochs)
    found = sensitivity.squared(column, schedule, 24) ** 0.5
    np.testing.assert_allclose(found, golden, rtol=1e-9)

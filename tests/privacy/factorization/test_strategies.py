"""Strategies: what they are, and that they are better than what they replace."""

import numpy as np
import pytest

from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.factorization import banded
from dp_fedemb.privacy.factorization import banded_inverse
from dp_fedemb.privacy.factorization import blt
from dp_fedemb.privacy.factorization import sensitivity
from dp_fedemb.privacy.factorization import series
from dp_fedemb.privacy.factorization import server
from dp_fedemb.privacy.factorization import strategy as strategy_lib
from dp_fedemb.privacy.factorization import workload as workload_lib
from dp_fedemb.privacy.mechanisms import tree_nodes

# Rounds, momentum, and rounds between two of a user.
SETTINGS = [(100, 0.9, 50), (100, 0.0, 100), (64, 0.9, 8), (200, 0.9, 20)]


def tree_error(workload, schedule):
    """RMS error of a tree, every iterate the best linear estimate from the nodes so far."""
    rounds, nodes, lasts = workload.rounds, [], []
    for level in range(rounds.bit_length()):
        for first in range(0, rounds - 2**level + 1, 2**level):
            nodes.append(np.isin(np.arange(rounds), np.arange(first, first + 2**level)))
            lasts.append(first + 2**level - 1)
    nodes, lasts, error = np.array(nodes, float), np.array(lasts), 0.0
    for round_num, row in enumerate(workload.matrix()):
        known = nodes[lasts <= round_num, : round_num + 1]
        error += np.sum((row[: round_num + 1] @ np.linalg.pinv(known)) ** 2) / rounds
    return (error * tree_nodes.squared_visits(schedule, rounds)) ** 0.5


@pytest.mark.parametrize('rounds, momentum, separation', SETTINGS)
def test_better_than_independent_noise_and_than_a_tree(rounds, momentum, separation):
    workload = workload_lib.Workload(rounds, momentum)
    schedule = participation_lib.ParticipationSchedule(separation)
    independent = workload_lib.rms_error(workload, np.ones(1), schedule)
    found = {
        'banded': banded.optimal(workload, schedule, separation),
        'bisr': banded_inverse.optimal(workload, schedule, 8),
        'blt': blt.optimal(workload, schedule, 3),
    }
    errors = {
        name: workload_lib.rms_error(workload, strategy.column(rounds), schedule)
        for name, strategy in found.items()
    }
    best_of_old = min(independent, tree_error(workload, schedule))
    assert max(errors.values()) < 0.8 * best_of_old
    assert max(errors.values()) < 1.15 * min(errors.values())


def test_figures_of_the_demos_schedule():
    """100 rounds, momentum 0.9, two participations 50 rounds apart."""
    workload = workload_lib.Workload(100, 0.9)
    schedule = participation_lib.ParticipationSchedule(50)
    errors = [
        workload_lib.rms_error(workload, column, schedule)
        for column in (
            np.ones(1),
            series.inverse(series.square_root(0.9, 100), 100),
            banded.optimal(workload, schedule, 50).column(100),
            banded_inverse.square_root(workload, 16).column(100),
            banded_inverse.optimal(workload, schedule, 16).column(100),
            blt.optimal(workload, schedule, 1).column(100),
        )
    ]
    np.testing.assert_allclose(errors, [87.41, 22.15, 19.44, 20.41, 19.92, 20.11], rtol=2e-3)


@pytest.mark.parametrize('name', ['cosine', 'step', 'averaging'])
def test_a_strategy_is_made_for_the_servers_steps(name):
    """Less error for the server that it is made for, and more for another one."""
    steps = server.Server(0.9, averaging=0.9)
    if name != 'averaging':
        steps = server.Server(0.9, lr_schedule=name)
    workloads = steps.workload(100), workload_lib.Workload(100, 0.9)
    schedule = participation_lib.ParticipationSchedule(50)
    families = (
        lambda workload: banded.optimal(workload, schedule, 50),
        lambda workload: banded_inverse.optimal(workload, schedule, 8),
        lambda workload: blt.optimal(workload, schedule, 2),
    )
    for family in families:
        own, others = (family(workload).column(100) for workload in workloads)
        for workload, better, worse in zip(workloads, (own, others), (others, own)):
            errors = [
                workload_lib.rms_error(workload, column, schedule) for column in (better, worse)
            ]
            assert errors[0] < errors[1] * (1 + 1e-9)
        assert workload_lib.rms_error(workloads[0], own, schedule) < workload_lib.rms_error(
            workloads[1], own, schedule
        )


def test_square_root_squared_is_the_inverse_workload():
    root = series.square_root(0.9, 30)
    inverse_workload = np.convolve(root, root)[:30]
    np.testing.assert_allclose(inverse_workload[:3], [1.0, -1.9, 0.9], atol=1e-12)
    np.testing.assert_allclose(inverse_workload[3:], 0.0, atol=1e-12)


def test_closed_form_of_the_banded_inverse():
    closed = banded_inverse.square_root(workload_lib.Workload(50), 4)
    np.testing.assert_allclose(closed.denominator, [1, -1 / 2, -1 / 8, -1 / 16])
    assert sensitivity.decreasing(closed.column(50))


@pytest.mark.parametrize('rounds, momentum, separation', SETTINGS)
@pytest.mark.parametrize('bands', [1, 2, 4, 16])
def test_optimised_inverse_is_never_worse_than_the_closed_form(
    rounds, momentum, separation, bands
):
    workload = workload_lib.Workload(rounds, momentum)
    for window in (1, separation // 2):
        schedule = participation_lib.ParticipationSchedule(separation, window)
        closed, found = (
            workload_lib.rms_error(workload, candidate.column(rounds), schedule)
            for candidate in (
                banded_inverse.square_root(workload, bands),
                banded_inverse.optimal(workload, schedule, bands),
            )
        )
        assert found <= closed


def test_coefficients_found_are_the_same_on_every_machine():
    workload = workload_lib.Workload(60, 0.9)
    schedule = participation_lib.ParticipationSchedule(20)
    for found in (
        banded.optimal(workload, schedule, 20),
        banded_inverse.optimal(workload, schedule, 4),
        blt.optimal(workload, schedule, 2),
    ):
        numerator, denominator = np.array(found.numerator), np.array(found.denominator)
        np.testing.assert_array_equal(numerator * 2**6, np.round(numerator * 2**6))
        np.testing.assert_array_equal(denominator * 2**16, np.round(denominator * 2**16))


@pytest.mark.parametrize(
    'scales, decays',
    [([0.5], [0.75]), ([0.5, 0.25], [0.5, 0.25]), ([0.25, 0.25, 0.5], [0.5, 0.25, 0.0])],
)
def test_a_blt_is_a_ratio_of_series(scales, decays):
    buffers = blt.Buffers(np.array(scales), np.array(decays))
    np.testing.assert_allclose(buffers.strategy().column(40), buffers.column(40), atol=1e-12)


@pytest.mark.parametrize('rounds, momentum, separation', SETTINGS)
def test_more_buffers_are_never_worse(rounds, momentum, separation):
    workload = workload_lib.Workload(rounds, momentum)
    schedule = participation_lib.ParticipationSchedule(separation)
    errors = [
        workload_lib.rms_error(
            workload, blt.optimal(workload, schedule, buffers).column(rounds), schedule
        )
        for buffers in (1, 2, 3, 4)
    ]
    assert errors == sorted(errors, reverse=True)


def test_strategy_and_noise_are_inverse():
    workload = workload_lib.Workload(30, 0.9)
    found = blt.optimal(workload, participation_lib.ParticipationSchedule(10), 2)
    product = series.matrix(found.column(30), 30) @ series.matrix(found.noise(30), 30)
    np.testing.assert_allclose(product, np.eye(30), atol=1e-9)


@pytest.mark.parametrize(
    'numerator, denominator, match',
    [
        ((0.5,), (1.0,), 'begin with 1'),
        ((1.0,), (2.0,), 'begin with 1'),
        ((1.0, 1 / 3), (1.0,), 'multiples of 2'),
    ],
)
def test_other_series_are_no_strategy(numerator, denominator, match):
    with pytest.raises(ValueError, match=match):
        strategy_lib.Strategy(numerator, denominator)


def test_a_falling_rate_changes_the_strategy_and_gains():
    schedule = participation_lib.ParticipationSchedule(20)
    rates = tuple(np.linspace(1.0, 0.05, 60))
    falling = workload_lib.Workload(60, 0.9, rates)
    constant = workload_lib.Workload(60, 0.9)
    for optimal in (banded.optimal, banded_inverse.optimal):
        own, other = (
            found.column(60)
            for found in (optimal(falling, schedule, 20), optimal(constant, schedule, 20))
        )
        assert workload_lib.rms_error(falling, own, schedule) < workload_lib.rms_error(
            falling, other, schedule
        )


@pytest.mark.parametrize('family', [banded, banded_inverse, blt])
def test_bad_sizes_are_refused(family):
    workload = workload_lib.Workload(10)
    with pytest.raises(ValueError, match='=0: expected a number above 0'):
        family.optimal(workload, participation_lib.ParticipationSchedule(5), 0)


@pytest.mark.parametrize('size', [1, 3])
def test_a_single_round_needs_no_correlation(size):
    workload, schedule = workload_lib.Workload(1), participation_lib.ParticipationSchedule(5)
    for family in (banded, banded_inverse, blt):
        found = family.optimal(workload, schedule, size)
        np.testing.assert_array_equal(found.column(1), [1.0])

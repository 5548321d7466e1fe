"""Epsilons and rhos that others computed or published, each with its source."""

import importlib.util
import math
import pathlib

import numpy as np
import pytest
from scipy import optimize
from scipy import stats

from dp_fedemb import privacy


def _gaussian_plan(n, m, k, z, rounds, **options):
    return privacy.PrivacyPlan(
        num_users=n,
        virtual_clients_per_round=m,
        users_per_virtual_client=k,
        rounds=rounds,
        mechanism=privacy.Gaussian(clip_norm=1.0, noise_multiplier=z),
        **options,
    )


# By a PLD of the client's own: FFT, losses rounded up to a grid of 4e-6, delta = N^-1.1. Its
# rounding adds up to the rounds times the grid, which is part of the tolerance.
WHOLE_GROUPS = [
    (3_400, 32, 8, 0.62, 200, 17.570, 22.945),
    (10_000, 32, 8, 0.62, 200, 7.170, 8.358),
    (40_000, 400, 2, 1.07669, 100, 1.207, 1.641),
    (1_000_000, 32, 8, 0.62, 200, 0.548, 0.549),
    (100_000, 128, 8, 2.48, 200, 0.230, 0.439),
]


@pytest.mark.parametrize('n, m, k, z, rounds, present_absent, replaced', WHOLE_GROUPS)
def test_whole_groups_of_both_relations(n, m, k, z, rounds, present_absent, replaced):
    plan = _gaussian_plan(n, m, k, z, rounds)
    for unit, expected in (('present_absent', present_absent), ('user', replaced)):
        epsilon = plan.epsilon(unit=unit)
        assert 0.999 * expected - 4e-6 * rounds < epsilon < 1.005 * expected, unit


@pytest.mark.parametrize(
    'grouping, unit, z',
    [('groups', 'present_absent', 0.539), ('groups', 'user', 0.552), ('slots', 'user', 1.077)],
)
def test_noise_of_the_demo_at_epsilon_8(grouping, unit, z):
    """z is rounded up: it meets epsilon 8, and a last digit less, or little more, does not."""
    low, high = (
        _gaussian_plan(40_000, 400, 2, near, 100, sampling=privacy.Poisson(grouping))
        for near in (z + 1e-4, z - 1.1e-3)
    )
    assert low.epsilon(unit=unit) < 8 < high.epsilon(unit=unit)


def test_sampling_everybody_replaces_a_gaussian():
    """q = 1: the antipodal pair is one Gaussian of twice the sensitivity."""
    plan = _gaussian_plan(32, 4, 8, 1.0, 1, delta=1e-5)
    assert plan.epsilon() == pytest.approx(_gaussian_epsilon(0.5, 1e-5), rel=1e-6)
    expected = _gaussian_epsilon(1.0, 1e-5)
    assert plan.epsilon(unit='present_absent') == pytest.approx(expected, rel=1e-6)


# By dp-accounting's PLDAccountant: Poisson, add-or-remove-one, noise multiplier z / 2 for
# the user and z for the virtual client, delta = N^-1.1.
@pytest.mark.parametrize(
    'n, m, k, z, user, virtual_client',
    [
        (3_400, 32, 8, 0.62, '104.945', '17.569'),
        (10_000, 32, 8, 0.62, '50.33', '7.169'),
        (1_000_000, 32, 8, 0.62, '10.818', '0.548'),
        (100_000, 128, 8, 2.48, '0.635', '0.229'),
    ],
)
def test_poisson_epsilons_of_both_units(n, m, k, z, user, virtual_client):
    plan = _gaussian_plan(n, m, k, z, 200, sampling=privacy.Poisson('slots'))
    for unit, expected in (('user', user), ('virtual_client', virtual_client)):
        # Both are upper bounds, so that the last digits may differ.
        assert plan.epsilon(unit=unit) == pytest.approx(float(expected), rel=3e-3), unit


@pytest.mark.parametrize('n, m, z', [(3_400, 256, 0.62), (100_000, 1024, 2.48)])
def test_units_coincide_with_one_user_to_a_virtual_client(n, m, z):
    slots = _gaussian_plan(n, m, 1, z, 200, sampling=privacy.Poisson('slots'))
    assert slots.sensitivity_over_clip == 1
    assert slots.epsilon() == slots.epsilon(unit='virtual_client')
    alone = _gaussian_plan(n, m, 1, z, 200)
    assert alone.sensitivity_over_clip == 2
    assert alone.epsilon(unit='present_absent') == slots.epsilon() < alone.epsilon()


def test_k_1_costs_what_the_literature_reports_for_its_virtual_clients():
    """q, rounds and noise over sensitivity are all that matters."""
    alone = _gaussian_plan(3_400, 256, 1, 0.62, 200, sampling=privacy.Poisson('slots'))
    merged = _gaussian_plan(3_400, 32, 8, 0.62, 200)
    assert alone.epsilon() == merged.epsilon(unit='virtual_client')
    # And in whole groups, a user who is present or absent.
    assert alone.epsilon() == merged.epsilon(unit='present_absent')


def _gaussian_epsilon(ratio, delta):
    """Balle and Wang (2018, arXiv 1805.06530), Theorem 8, solved for epsilon."""

    def excess(epsilon):
        a, b = 0.5 / ratio, epsilon * ratio
        log_second = epsilon + stats.norm.logcdf(-a - b)
        return stats.norm.cdf(a - b) - math.exp(log_second) - delta

    return optimize.brentq(excess, 0, 100 + 100 / ratio**2, xtol=1e-12)


def test_replace_one_doubles_the_sensitivity_of_a_gaussian():
    """z = 1, delta = 1e-5: 10.0 under replace-one, where 4.38 is that of add-or-remove.

    The trap: dp-accounting 0.4.3 says 4.38 for both.
    """
    everybody = _gaussian_plan(32, 32, 1, 1.0, 1, sampling=privacy.FixedSize(), delta=1e-5)
    assert everybody.sensitivity_over_clip == 2
    assert everybody.epsilon() == pytest.approx(_gaussian_epsilon(0.5, 1e-5), rel=1e-4)
    assert everybody.epsilon() == pytest.approx(10.0, abs=0.01)
    # Neither accountant may fall into the trap. (RDP is an upper bound, and looser.)
    assert 10.0 < everybody.epsilon(accountant='rdp') < 11.0
    removed = _gaussian_plan(32, 32, 1, 1.0, 1, sampling=privacy.Poisson('slots'), delta=1e-5)
    assert removed.epsilon() == pytest.approx(4.38, abs=0.005)


def _tree_plan(z, rounds, users=1, epoch=1, **options):
    """k = 1: `users` a round, everybody back every `epoch` rounds."""
    return privacy.PrivacyPlan(
        num_users=users * epoch,
        virtual_clients_per_round=users,
        users_per_virtual_client=1,
        rounds=rounds,
        mechanism=privacy.Tree(clip_norm=1.0, noise_multiplier=z),
        sampling=privacy.MinSeparation(grouping='slots'),
        **options,
    )


# Published models of Gboard, delta = 1e-10: google-research/federated,
# mf_dpftrl_matrices/README.md (Spanish in Spain; Portuguese in Brazil). Their matrices are
# not trees; what is compared is the way from rho to epsilon.
@pytest.mark.parametrize(
    'rho, last_digit, epsilon', [(0.15, 0.01, 3.42), (0.0144, 0.0001, 0.994)]
)
def test_published_rho_gives_the_published_epsilon(rho, last_digit, epsilon):
    """Up to the digits that the published rho was rounded to."""
    low, high = (
        _tree_plan((2 * near) ** -0.5, rounds=1, users=32, delta=1e-10)
        for near in (rho - last_digit / 2, rho + last_digit / 2)
    )
    assert low.zcdp_rho() == pytest.approx(rho - last_digit / 2)
    assert low.epsilon() < epsilon < high.epsilon()
    assert high.epsilon() < 1.05 * low.epsilon()


def test_first_published_dp_ftrl_model():
    """rho = 0.81, reported as epsilon = 8.9 by RDP (McMahan and Thakurta 2022, Google AI
    blog, Federated learning with formal differential privacy guarantees)."""
    plan = _tree_plan((2 * 0.81) ** -0.5, rounds=1, users=32, delta=1e-10)
    assert plan.epsilon(accountant='rdp') == pytest.approx(8.9, abs=0.05)
    assert 8.0 < plan.epsilon() < 8.9


@pytest.fixture(scope='module')
def tree_accountant():
    """tensorflow_privacy's tree accounting, without importing TensorFlow."""
    package = pathlib.Path(importlib.util.find_spec('tensorflow_privacy').origin).parent
    path = package / 'privacy' / 'analysis' / 'tree_aggregation_accountant.py'
    spec = importlib.util.spec_from_file_location('tree_aggregation_accountant', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    'epoch, rounds', [(1, 1), (1, 7), (2, 8), (4, 16), (8, 32), (4, 13), (16, 64), (8, 8)]
)
def test_single_tree_agrees_with_tensorflow_privacy(tree_accountant, epoch, rounds):
    """Its worst case is over all patterns of a separation; ours are those that occur."""
    plan = _tree_plan(2.0, rounds, users=4, epoch=epoch)
    theirs = tree_accountant.compute_zcdp_single_tree(
        noise_multiplier=2.0,
        total_steps=rounds,
        max_participation=math.ceil(rounds / epoch),
        min_separation=epoch - 1,  # It counts the steps in between.
    )
    assert plan.zcdp_rho() == pytest.approx(theirs)


@pytest.mark.parametrize('epoch, rounds', [(3, 12), (5, 23), (7, 40), (12, 50)])
def test_odd_epochs_cost_at_most_what_tensorflow_privacy_says(tree_accountant, epoch, rounds):
    ours = _tree_plan(2.0, rounds, users=4, epoch=epoch).zcdp_rho()
    theirs = tree_accountant.compute_zcdp_single_tree(
        2.0, rounds, math.ceil(rounds / epoch), epoch - 1
    )
    assert 0.5 * theirs < ours <= theirs * (1 + 1e-12)


def test_restarted_trees_agree_with_tensorflow_privacy(tree_accountant):
    """A tree per epoch, in which every user takes part once."""
    orders = np.array([2.0, 8.0])
    theirs = tree_accountant.compute_rdp_tree_restart(1.5, [8, 8, 8], orders)
    plan = privacy.PrivacyPlan(
        num_users=32,
        virtual_clients_per_round=4,
        users_per_virtual_client=1,
        rounds=24,
        mechanism=privacy.Tree(clip_norm=1.0, noise_multiplier=1.5, restart_rounds=8),
        sampling=privacy.MinSeparation(grouping='slots'),
    )
    np.testing.assert_allclose(orders * plan.zcdp_rho(), theirs)

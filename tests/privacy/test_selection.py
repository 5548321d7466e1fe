"""Trials on the same users: what all of them, or the best of a random number, cost."""

import math

import dp_accounting
from dp_accounting import dp_event
from dp_accounting import rdp
import numpy as np
import pytest
from scipy import integrate
from scipy import stats

from dp_fedemb import privacy
from dp_fedemb.privacy import analysis
from dp_fedemb.privacy import selection

SHAPES = {'geometric': 1, 'poisson': math.inf}
DELTA = 1e-5


def demo(z=1.07669, **changes):
    """The demo's plan in slots: epsilon 8.00 for one run."""
    values = {
        'num_users': 40_000,
        'virtual_clients_per_round': 400,
        'users_per_virtual_client': 2,
        'rounds': 100,
        'sampling': privacy.Poisson('slots'),
    }
    return privacy.PrivacyPlan(mechanism=privacy.Gaussian(0.1, z), **(values | changes))


def test_golden():
    """A mean of ten trials of epsilon 8 costs 14.6 by RDP, all of ten 19.6 by PLD."""
    plan = demo()
    assert plan.epsilon() == pytest.approx(8.0, abs=1e-3)
    best = selection.total_epsilon([plan], privacy.Selection(10).epsilon)
    assert best == pytest.approx(14.6, abs=0.05)
    every = selection.total_epsilon([plan] * 10, selection.composed_epsilon)
    assert every == pytest.approx(19.6, abs=0.05)


@pytest.mark.parametrize('distribution', privacy.selection.DISTRIBUTIONS)
@pytest.mark.parametrize('mean', [2, 10, 50])
def test_against_dp_accounting(distribution, mean):
    """Its orders are fewer, so that it may be a little above and never below."""
    once = demo().analysis(100)
    event = dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(
            once.probability, dp_accounting.GaussianDpEvent(once.ratio)
        ),
        once.rounds,
    )
    accountant = rdp.RdpAccountant([1 + x / 10 for x in range(3, 100)] + [*range(11, 64)])
    accountant.compose(dp_event.RepeatAndSelectDpEvent(event, mean, SHAPES[distribution]))
    theirs = accountant.get_epsilon(DELTA)
    ours = privacy.Selection(mean, distribution).epsilon([once], DELTA)
    assert 0.97 * theirs < ours < theirs * (1 + 1e-9)


def exact_delta(distribution, mean, ratio, epsilon):
    """delta of the largest of K draws of N(0 or 1, ratio^2), by integration.

    The density of the largest is G'(F) f with G the generating function of K.
    """

    def log_density(x, shift):
        below = stats.norm.cdf(x, shift, ratio)
        if distribution == 'poisson':
            growth = math.log(mean) + mean * (below - 1)
        else:
            growth = -math.log(mean) - 2 * np.log1p(-(1 - 1 / mean) * below)
        return stats.norm.logpdf(x, shift, ratio) + growth

    def excess(x, one, other):
        return np.maximum(
            np.exp(log_density(x, one)) - np.exp(epsilon + log_density(x, other)), 0
        )

    x = np.linspace(-12 * ratio, 1 + 12 * ratio, 400_001)
    return max(
        integrate.trapezoid(excess(x, *shifts), x) for shifts in ((0.0, 1.0), (1.0, 0.0))
    )


@pytest.mark.parametrize('distribution', privacy.selection.DISTRIBUTIONS)
@pytest.mark.parametrize('ratio', [0.7, 2.0])
def test_the_best_of_gaussians_in_closed_form(distribution, ratio):
    mean = 8
    once = analysis.Gaussian(ratio)
    epsilon = privacy.Selection(mean, distribution).epsilon([once], DELTA)
    assert exact_delta(distribution, mean, ratio, epsilon) <= DELTA
    # One trial's epsilon is broken by the selection: the test would find it.
    alone = privacy.accounting.epsilon(once, DELTA)
    assert alone < epsilon
    assert exact_delta(distribution, mean, ratio, alone) > DELTA


def test_epsilon_grows_with_trials_and_settings():
    plan, louder = demo(), demo(z=0.9)
    costs = [
        selection.total_epsilon([plan], privacy.Selection(mean).epsilon)
        for mean in (1, 2, 10, 100)
    ]
    assert costs == sorted(costs) and costs[0] >= plan.epsilon(accountant='rdp') - 1e-3
    cost = privacy.Selection(10).epsilon
    both = selection.total_epsilon([plan, louder], cost)
    assert (
        both >= selection.total_epsilon([louder], cost) > selection.total_epsilon([plan], cost)
    )


def test_composed_runs_of_all_kinds():
    plan = demo()
    one = selection.composed_epsilon([plan.analysis(100)], plan.guarantee_delta)
    assert one == pytest.approx(plan.epsilon(), rel=1e-9)
    longer = demo(rounds=300)
    split = selection.total_epsilon([plan, plan, plan], selection.composed_epsilon)
    assert split == pytest.approx(longer.epsilon(), rel=1e-9)
    gaussians = [analysis.Gaussian(2.0)] * 4
    assert selection.composed_epsilon(gaussians, DELTA) == pytest.approx(
        privacy.accounting.epsilon(analysis.Gaussian(1.0), DELTA), rel=1e-6
    )
    mixed = [analysis.Gaussian(5.0), plan.analysis(100)]
    least = max(selection.composed_epsilon([each], DELTA) for each in mixed)
    assert least < selection.composed_epsilon(mixed, DELTA) < 3 * least
    different = selection.total_epsilon([plan, demo(z=2.0)], selection.composed_epsilon)
    assert plan.epsilon() < different < 2 * plan.epsilon()


@pytest.mark.parametrize('mode', ['composed', 'selection'])
def test_noise_of_a_trial_from_the_total(mode):
    cost = selection.composed_epsilon if mode == 'composed' else privacy.Selection(10).epsilon
    plans = [demo(), demo(rounds=50), demo()]
    planned = selection.plan_trials(plans, 8.0, cost)
    assert 7.98 < selection.total_epsilon(planned, cost) <= 8.0
    assert planned[0] == planned[2] and [plan.rounds for plan in planned] == [100, 50, 100]
    alone = [plan.epsilon() for plan in planned]
    assert max(alone) - min(alone) < 1e-3 and max(alone) < 6


def test_delta_of_noise_that_is_not_ideal():
    assert selection.released_delta(1e-6, 1.0, 10, 0.0) == 1e-6
    grown = selection.released_delta(1e-6, 1.0, 10, 1e-9)
    assert grown == pytest.approx(1e-6 + (1 + math.e) * 1e-8)
    assert selection.released_delta(1e-6, 800.0, 10, 1e-9) is None


@pytest.mark.parametrize('distribution', privacy.selection.DISTRIBUTIONS)
def test_the_number_of_trials_is_drawn_as_accounted(distribution):
    drawn = [privacy.Selection(4, distribution).number(seed) for seed in range(4000)]
    law = stats.geom(1 / 4) if distribution == 'geometric' else stats.poisson(4)
    values = np.arange(12)
    found = np.array([np.mean(np.array(drawn) <= value) for value in values])
    # Kolmogorov-Smirnov at 1e-4 for 4,000 draws; the other law is 0.25 away.
    assert np.abs(found - law.cdf(values)).max() < 2.2 / math.sqrt(4000)
    assert drawn[:50] == [privacy.Selection(4, distribution).number(s) for s in range(50)]


@pytest.mark.parametrize(
    'call, words',
    [
        (lambda: privacy.Selection(0.5), 'mean_trials=0.5'),
        (lambda: privacy.Selection(math.nan), 'mean_trials=nan'),
        (lambda: privacy.Selection(3, 'fixed'), "distribution='fixed'"),
        (lambda: selection.total_epsilon([], selection.composed_epsilon), 'no trials'),
        (
            lambda: selection.total_epsilon(
                [demo(), demo(num_users=50_000)], selection.composed_epsilon
            ),
            'num_users=40000 and 50000',
        ),
        (
            lambda: selection.total_epsilon(
                [demo(noise_cohort_size=800)], selection.composed_epsilon
            ),
            'noise_cohort_size=800',
        ),
        (
            lambda: selection.plan_trials([demo()], 1e-6, privacy.Selection(1e9).epsilon),
            'target_epsilon=1e-06',
        ),
    ],
)
def test_refusals(call, words):
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert '\n' not in str(error.value)

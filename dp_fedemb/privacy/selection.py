"""What it costs to try several settings on the same users and to release the best.

*Composed*: every trial is a release, and all of them add up.

*Private selection* (Papernot and Steinke 2022, arXiv 2110.03620): the number K of trials is
random and stays secret, settings are drawn for each trial anew, and nothing but the best one
is released. Which is best has to follow from what a trial releases and from data that are not
protected. With D(a) the Renyi divergence of order a of one trial, that of the selection is

    geometric K, mean m (their Theorem 2, eta = 1):
        D(a) + 2 (1 - 1/b) D(b) + 2 log(m) / b + log(m) / (a - 1)  for every b >= 1
    Poisson K, mean m (their Theorem 6):
        D(a) + m delta + log(m) / (a - 1), a trial being (log(1 + 1/(a - 1)), delta)-DP

A trial that draws one of several settings is a mixture of them with public weights, whose
divergence is at most the largest. Losses beyond 39 standard deviations (a mass below 1e-330
a round) are left out of the divergences: a selection among trials without them is within
m T 1e-330 in total variation, less than the last digit of every delta that is accepted.
"""

from collections.abc import Callable, Sequence
import dataclasses
import math
from typing import Optional

import numpy as np
from scipy import optimize

from dp_fedemb import randomness
from dp_fedemb import validate
from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import analysis as analysis_lib
from dp_fedemb.privacy import calibration
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy.accounting import one_round
from dp_fedemb.privacy.accounting import pairs
from dp_fedemb.privacy.accounting import renyi

Array = pairs.Array
DISTRIBUTIONS = ('geometric', 'poisson')
# Orders minus 1; close enough that the best between two of them is no better by 1e-4.
_ORDERS = np.geomspace(1e-3, 1e5, 801)
_DEVIATIONS = 39.0


@dataclasses.dataclass(frozen=True)
class Selection:
    """A random number of trials, the best of which is released.

    >>> demo = analysis_lib.SampledGaussian('add_or_remove', 1.07669 / 2, 0.02, 100)
    >>> round(Selection(10).epsilon([demo], 40_000**-1.1), 1)
    14.6

    Attributes:
        mean_trials: of their number, at least 1.
        distribution: of their number, one of `DISTRIBUTIONS`. A Poisson number can be 0:
            then nothing is released, and the budget is spent.
    """

    mean_trials: float
    distribution: str = 'geometric'

    def __post_init__(self) -> None:
        validate.one_of('distribution', self.distribution, DISTRIBUTIONS)
        validate.finite(mean_trials=self.mean_trials)
        if self.mean_trials < 1:
            raise ValueError(f'mean_trials={self.mean_trials}: expected a number of at least 1')

    def number(self, secret_seed: int) -> int:
        """Draws the number of trials. It is as secret as the seed."""
        generator = randomness.generator(secret_seed, 'number of trials')
        if self.distribution == 'poisson':
            return int(generator.poisson(self.mean_trials))
        return int(generator.geometric(1 / self.mean_trials))

    def epsilon(self, analyses: Sequence[analysis_lib.Analysis], delta: float) -> float:
        """Returns an upper bound of epsilon of what is released.

        Args:
            analyses: of one trial, for each of the settings that it may draw.
            delta: of the guarantee.

        Raises:
            ValueError: for values that the accountant has no proof for.
        """
        of_trial = np.max([_divergences(each) for each in analyses], axis=0)
        log_mean = math.log(self.mean_trials)
        if self.distribution == 'geometric':
            orders = 1 + _ORDERS
            extra = float(np.min(2 * (1 - 1 / orders) * of_trial + 2 * log_mean / orders))
            # b = 1: the divergence drops out.
            extra = min(extra, 2 * log_mean)
            total = of_trial + extra + log_mean / _ORDERS
        else:
            log_deltas = _log_deltas(of_trial, np.log1p(1 / _ORDERS))
            with np.errstate(over='ignore'):
                total = of_trial + self.mean_trials * np.exp(log_deltas) + log_mean / _ORDERS
        return _epsilon(total, delta)


def composed_epsilon(analyses: Sequence[analysis_lib.Analysis], delta: float) -> float:
    """Returns an upper bound of epsilon of several runs that are all released.

    >>> demo = analysis_lib.SampledGaussian('add_or_remove', 1.07669 / 2, 0.02, 100)
    >>> round(composed_epsilon([demo] * 10, 40_000**-1.1), 1)
    19.6

    Runs of one kind are composed by their privacy losses, as the rounds of one run with the
    least noise and the highest sampling probability among them, which dominate the others
    (noise can be added, and a round that samples less is one that samples more and is left
    out at random). Their Renyi divergences add up whatever they are; the lesser bound counts.

    Args:
        analyses: of the runs, each of all its rounds.
        delta: of all together.
    """
    bounds = [_epsilon(np.sum([_divergences(each) for each in analyses], axis=0), delta)]
    gaussians = [each for each in analyses if isinstance(each, analysis_lib.Gaussian)]
    sampled = [each for each in analyses if isinstance(each, analysis_lib.SampledGaussian)]
    if not sampled:
        ratio = sum(each.ratio**-2 for each in gaussians) ** -0.5
        bounds.append(accounting.epsilon(analysis_lib.Gaussian(ratio), delta))
    elif not gaussians and len({each.kind for each in sampled}) == 1:
        worst = analysis_lib.SampledGaussian(
            sampled[0].kind,
            min(each.ratio for each in sampled),
            max(each.probability for each in sampled),
            sum(each.rounds for each in sampled),
        )
        bounds.append(accounting.epsilon(worst, delta))
    return min(bounds)


# What a set of trials costs: their analyses and delta -> epsilon.
Cost = Callable[[Sequence[analysis_lib.Analysis], float], float]


def total_epsilon(
    plans: Sequence[plan_lib.PrivacyPlan], cost: Cost, unit: str = 'user'
) -> float:
    """Returns the epsilon of trials by their plans; infinite if one has no noise.

    Args:
        plans: of the trials, or of the settings that a trial may draw.
        cost: `composed_epsilon`, or `Selection.epsilon` of a selection.
        unit: see `PrivacyPlan.analysis`.

    Raises:
        ValueError: for plans of different users or deltas, or of a simulated deployment.
    """
    _require_same_users(plans)
    analyses = [plan.analysis(plan.rounds, unit) for plan in plans]
    known = [each for each in analyses if each is not None]
    if len(known) < len(analyses):
        return math.inf
    return cost(known, plans[0].guarantee_delta)


def plan_trials(
    plans: Sequence[plan_lib.PrivacyPlan], target_epsilon: float, cost: Cost
) -> list[plan_lib.PrivacyPlan]:
    """Returns the plans with the noise at which all trials together meet a total epsilon.

    Each trial gets the same epsilon of its own, the largest that does.

    Args:
        plans: see `total_epsilon`; their noise does not count.
        target_epsilon: of a user, of everything that is released.
        cost: see `total_epsilon`.

    Raises:
        UnreachableError: a ValueError, if no noise does.
        ValueError: as `total_epsilon`, or for plans without noise.
    """
    validate.positive(target_epsilon=target_epsilon)
    _require_same_users(plans)
    # Settings that leave the plan alone are many; calibration takes a second each.
    distinct: dict[str, plan_lib.PrivacyPlan] = {repr(plan): plan for plan in plans}

    def at(single: float) -> dict[str, plan_lib.PrivacyPlan]:
        return {key: calibration.calibrate(plan, single) for key, plan in distinct.items()}

    def total(single: float) -> float:
        solved = at(single)
        return total_epsilon([solved[repr(plan)] for plan in plans], cost)

    def excess(log_single: float) -> float:
        return math.log(total(math.exp(log_single)) / target_epsilon)

    high = low = target_epsilon
    while excess(math.log(low)) > 0:
        high, low = low, low / 2
        if low < target_epsilon / 1024:
            raise calibration.UnreachableError(
                f'target_epsilon={target_epsilon}: trials of epsilon {low:.3g} are together'
                f' {total(low):.4g} still; raise it, or lower the number of trials'
            )
    single = low
    if high > low:
        single = math.exp(optimize.brentq(excess, math.log(low), math.log(high), xtol=1e-4))
        while total(single) > target_epsilon:
            single *= 1 - 1e-4
    solved = at(single)
    return [solved[repr(plan)] for plan in plans]


def _require_same_users(plans: Sequence[plan_lib.PrivacyPlan]) -> None:
    if not plans:
        raise ValueError('no trials: expected at least one plan')
    first = plans[0]
    for plan in plans:
        if plan.hypothetical:
            raise ValueError(
                f'noise_cohort_size={plan.noise_cohort_size}: a run with the noise of a larger'
                ' deployment has no epsilon that trials could add up; leave it unset'
            )
        for name in ('num_users', 'guarantee_delta'):
            if getattr(plan, name) != getattr(first, name):
                raise ValueError(
                    f'trials with {name}={getattr(first, name)} and {getattr(plan, name)}:'
                    ' expected the same users and delta in all of them'
                )


def _divergences(analysis: analysis_lib.Analysis) -> Array:
    """Upper bounds of the Renyi divergence of each order, the worse of both directions."""
    if isinstance(analysis, analysis_lib.Gaussian):
        return (1 + _ORDERS) * (1 + 1e-15) / (2 * analysis.ratio**2)
    if analysis.probability == 1:
        one = 2 if analysis.kind == 'replaced' else 1
        return (1 + _ORDERS) * analysis.rounds * (one / analysis.ratio) ** 2 / 2 * (1 + 1e-14)
    return analysis.rounds * np.max(
        [
            renyi.log_moments(
                one_round.by_position(
                    direction, analysis.ratio, analysis.probability, _DEVIATIONS
                ),
                _ORDERS,
            )
            / _ORDERS
            for direction in one_round.directions(analysis.kind)
        ],
        axis=0,
    )


def _log_deltas(divergences: Array, epsilons: Array) -> Array:
    """log of delta at each epsilon, by the best order; see `accounting.renyi`."""
    conversion = _ORDERS * np.log(_ORDERS) - (1 + _ORDERS) * np.log1p(_ORDERS)
    exponents = _ORDERS * (divergences - epsilons[:, None]) + conversion
    return np.minimum(exponents.min(axis=1), 0.0)


def _epsilon(divergences: Array, delta: float) -> float:
    conversion = _ORDERS * np.log(_ORDERS) - (1 + _ORDERS) * np.log1p(_ORDERS)
    values = divergences + (conversion - math.log(delta)) / _ORDERS
    return max(float(values.min()) * (1 + 1e-12), 0.0)


def released_delta(
    delta: float, epsilon: float, trials: float, statistical_distance: float
) -> Optional[float]:
    """Returns delta with what noise costs that is not quite the accounted one; None from 1.

    All trials' draws together are within `trials` times the distance of one trial's, in
    expectation; see `reporting.statement` for what that adds.

    Args:
        delta: of ideal noise.
        epsilon: at it.
        trials: their number, or its mean.
        statistical_distance: of the draws of one trial.
    """
    grown = delta + (1 + math.exp(min(epsilon, 700.0))) * trials * statistical_distance
    return grown if grown < 1 else None

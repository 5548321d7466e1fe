"""From a target epsilon to the noise, the rounds, the users or the cohort that it takes."""

from collections.abc import Callable
import dataclasses
import math

from scipy import optimize

from dp_fedemb import validate
from dp_fedemb.privacy import plan as plan_lib

_MOST_NOISE = 1e6
_MOST_ROUNDS = 10**6
_MOST_USERS = 10**12


class UnreachableError(ValueError):
    """No value of what is solved for has the target epsilon."""


def calibrate(
    plan: plan_lib.PrivacyPlan, target_epsilon: float, solve_for: str = 'noise_multiplier'
) -> plan_lib.PrivacyPlan:
    """Returns `plan` with one value changed so that its epsilon is at most the target.

    Args:
        plan: what stays, and where the search begins.
        target_epsilon: epsilon of a user at the plan's delta, by PLD.
        solve_for: `noise_multiplier` (the smallest), `rounds` (the most), `num_users` (the
            fewest; m and k stay) or `virtual_clients_per_round` (the most).

    Raises:
        UnreachableError: a ValueError, if no value reaches the target.
        ValueError: if the plan is not private.
    """
    validate.one_of('solve_for', solve_for, SOLVERS)
    validate.positive(target_epsilon=target_epsilon)
    if not plan.private:
        raise ValueError(
            f'mechanism={plan.mechanism.name}: nothing to calibrate without noise; choose'
            ' gaussian or another private mechanism'
        )
    if math.isinf(target_epsilon):
        raise ValueError('target_epsilon=inf: expected a finite number')
    return SOLVERS[solve_for](plan, target_epsilon)


def _noise_multiplier(plan: plan_lib.PrivacyPlan, target: float) -> plan_lib.PrivacyPlan:
    """Root of log epsilon in log z, rounded to the private side."""

    def with_noise(z: float) -> plan_lib.PrivacyPlan:
        mechanism = dataclasses.replace(plan.mechanism, noise_multiplier=z)
        return dataclasses.replace(plan, mechanism=mechanism)

    def excess(log_z: float) -> float:
        # With very much noise epsilon is 0 exactly.
        return math.log(max(with_noise(math.exp(log_z)).epsilon(), 1e-12) / target)

    bound = min(plan.mechanism.max_noise_multiplier * (1 - 1e-9), _MOST_NOISE)
    high = plan.mechanism.noise_multiplier
    while with_noise(high).epsilon() > target:
        if high >= bound:
            raise UnreachableError(
                f'target_epsilon={target}: not reached by any noise_multiplier below'
                f' {bound:.4g}; raise the target, num_users or, with adaptive clipping,'
                ' clipped_count_stddev'
            )
        high = min(2 * high, bound)
    low = high
    while with_noise(low).epsilon() <= target:
        high, low = low, low / 2
        if low < 1e-3:
            raise UnreachableError(
                f'target_epsilon={target}: met by a noise_multiplier below 0.001 already;'
                ' lower the target'
            )
    root = optimize.brentq(excess, math.log(low), math.log(high), xtol=1e-7)
    z = math.exp(root)
    while with_noise(z).epsilon() > target:
        z *= 1 + 1e-7
    return with_noise(z)


def _rounds(plan: plan_lib.PrivacyPlan, target: float) -> plan_lib.PrivacyPlan:
    """The most rounds; epsilon grows with every round."""
    most = plan.sampling.most_rounds(plan.population)

    def with_rounds(rounds: int) -> plan_lib.PrivacyPlan:
        # A strategy of correlated noise is one for a number of rounds.
        mechanism = plan.mechanism.for_other_rounds()
        return dataclasses.replace(plan, rounds=int(min(rounds, most)), mechanism=mechanism)

    def fits(rounds: int) -> bool:
        return with_rounds(rounds).epsilon(rounds) <= target

    if not fits(1):
        raise UnreachableError(
            f'target_epsilon={target}: one round costs {with_rounds(1).epsilon():.4g} already;'
            ' raise noise_multiplier or num_users'
        )
    low, high = 1, 2
    while fits(high):
        low, high = high, 2 * high
        if high > _MOST_ROUNDS:
            raise UnreachableError(
                f'target_epsilon={target}: not used up by {_MOST_ROUNDS} rounds; lower it'
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return with_rounds(low)


def _num_users(plan: plan_lib.PrivacyPlan, target: float) -> plan_lib.PrivacyPlan:
    """The fewest users; with schedules, a number that does, if doubling meets one.

    The cost of a schedule has steps, and once users take part only once it grows again,
    as the default delta falls.
    """

    def with_users(users: int) -> plan_lib.PrivacyPlan:
        return dataclasses.replace(plan, num_users=users)

    def fits(users: int) -> bool:
        return with_users(users).epsilon() <= target

    fewest = plan.sampling.fewest_users(plan.population, plan.rounds)
    if math.isfinite(plan.mechanism.spread):
        # The schedule must have room for it.
        room = (int(plan.mechanism.spread) - 1) * plan.population.users_per_round + 1
        fewest = max(fewest, room)
    if plan.delta is None:
        limit = _MOST_USERS
    else:
        # delta has to stay below 1/N, of the deployment if one is simulated.
        limit = math.ceil(plan.noise_scale / plan.delta) - 1
    if fewest <= limit and fits(fewest):
        return with_users(fewest)
    high = fewest
    while high < limit:
        low, high = high, min(2 * high, limit)
        if fits(high):
            break
    else:
        raise UnreachableError(
            f'target_epsilon={target}: found no num_users for it from {fewest} to {limit}'
            f' (delta = {"num_users**-1.1" if plan.delta is None else plan.delta}); raise the'
            ' target or noise_multiplier, or leave delta unset'
        )

    # Epsilon is nearly a power of the users: few steps come close, the rest is halving.
    def excess(log_users: float) -> float:
        epsilon = with_users(round(math.exp(log_users))).epsilon()
        return math.log(max(epsilon, 1e-12) / target)

    close = optimize.brentq(excess, math.log(low), math.log(high), rtol=1e-4, xtol=1e-4)
    for factor in (1 - 1e-3, 1 + 1e-3):
        guess = round(math.exp(close) * factor)
        if low < guess < high:
            low, high = (low, guess) if fits(guess) else (guess, high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return with_users(high)


def _virtual_clients(plan: plan_lib.PrivacyPlan, target: float) -> plan_lib.PrivacyPlan:
    """The largest cohort: the larger it is, the more often a user takes part."""
    if plan.hypothetical:
        raise ValueError(
            f'noise_cohort_size={plan.noise_cohort_size} with solve_for='
            'virtual_clients_per_round: the epsilon is that of the simulated cohort; leave it'
            ' out'
        )

    def with_cohort(cohort: int) -> plan_lib.PrivacyPlan:
        return dataclasses.replace(plan, virtual_clients_per_round=cohort)

    def fits(cohort: int) -> bool:
        try:
            return with_cohort(cohort).epsilon() <= target
        except ValueError:
            return False  # A schedule without room for so many.

    if not fits(1):
        raise UnreachableError(
            f'target_epsilon={target}: a cohort of one virtual client costs more already, or'
            ' is not possible; raise noise_multiplier or num_users'
        )
    low, high = 1, 2
    above = plan.num_users // plan.users_per_virtual_client + 1
    while high < above and fits(high):
        low, high = high, 2 * high
    high = min(high, above)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return with_cohort(low)


# Name (as in --solve_for) -> solver.
SOLVERS: dict[str, Callable[[plan_lib.PrivacyPlan, float], plan_lib.PrivacyPlan]] = {
    'noise_multiplier': _noise_multiplier,
    'rounds': _rounds,
    'num_users': _num_users,
    'virtual_clients_per_round': _virtual_clients,
}

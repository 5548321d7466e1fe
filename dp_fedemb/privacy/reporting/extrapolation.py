"""How many users does it take: the same model from more users, at a lower epsilon.

Xu et al. (2023, arXiv 2211.10844) train with a small cohort m and noise z and
ask what a deployment would cost whose mean updates are as noisy: M virtual clients a
round with noise multiplier z M / m have the same noise on the mean, hence about the
same utility, and its epsilon falls with M and with the population. `scaled` is that
deployment; `noise_cohort_size` of a plan trains with its noise.
"""

from collections.abc import Iterable
import dataclasses
from typing import Optional

from dp_fedemb.privacy import calibration
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import rounding


@dataclasses.dataclass(frozen=True)
class Point:
    """What one deployment costs.

    Attributes:
        num_users: N.
        virtual_clients_per_round: m.
        noise_multiplier: z, at the noise-to-signal ratio of all points.
        delta: of the guarantee.
        epsilon_user: of a user, under the relation of the headline, by PLD.
        epsilon_present_absent: of a user who is present or absent.
        epsilon_virtual_client: with the noise against C, as the literature reports.
    """

    num_users: int
    virtual_clients_per_round: int
    noise_multiplier: float
    delta: float
    epsilon_user: float
    epsilon_present_absent: float
    epsilon_virtual_client: float


def scaled(
    plan: plan_lib.PrivacyPlan, num_users: int, virtual_clients_per_round: int
) -> plan_lib.PrivacyPlan:
    """Returns the plan of another deployment with the same z / m, k and rounds.

    Raises:
        ValueError: if that deployment is impossible (q > 1), or `plan` simulates one.
    """
    if plan.hypothetical:
        raise ValueError(
            f'noise_cohort_size={plan.noise_cohort_size}: the plan simulates a deployment'
            ' already; leave it unset'
        )
    factor = virtual_clients_per_round / plan.virtual_clients_per_round
    return dataclasses.replace(
        plan,
        num_users=num_users,
        virtual_clients_per_round=virtual_clients_per_round,
        mechanism=plan.mechanism.scaled(factor),
    )


def points(
    plan: plan_lib.PrivacyPlan, populations: Iterable[int], cohorts: Iterable[int]
) -> list[Point]:
    """Returns a point for every cohort and population that can be had together."""
    found = []
    populations = list(populations)
    for cohort in cohorts:
        smallest = cohort * plan.users_per_virtual_client
        for num_users in populations:
            if num_users >= smallest:
                found.append(_point(scaled(plan, num_users, cohort)))
    return found


def users_needed(
    plan: plan_lib.PrivacyPlan, cohorts: Iterable[int], target_epsilon: float
) -> dict[int, Optional[int]]:
    """Returns the fewest users for a target by cohort; None where no number will do."""
    needed: dict[int, Optional[int]] = {}
    for cohort in cohorts:
        # A population to begin with that the schedule of the sampler allows.
        start = dataclasses.replace(plan.population, virtual_clients_per_round=cohort)
        fewest = plan.sampling.fewest_users(start, plan.rounds)
        try:
            solved = calibration.calibrate(
                scaled(plan, fewest, cohort), target_epsilon, 'num_users'
            )
        except calibration.UnreachableError:
            needed[cohort] = None
        else:
            needed[cohort] = solved.num_users
    return needed


def _point(plan: plan_lib.PrivacyPlan) -> Point:
    return Point(
        num_users=plan.num_users,
        virtual_clients_per_round=plan.virtual_clients_per_round,
        noise_multiplier=plan.mechanism.noise_multiplier,
        delta=plan.guarantee_delta,
        epsilon_user=rounding.rounded_up(plan.epsilon()),
        epsilon_present_absent=rounding.rounded_up(plan.epsilon(unit='present_absent')),
        epsilon_virtual_client=rounding.rounded_up(plan.epsilon(unit='virtual_client')),
    )

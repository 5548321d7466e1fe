"""How many users make a noise in the model private: in slots, in groups, correlated.

For a cohort m and the noise of a ratio r = z / m (`utility`), the least epsilon of a
population falls with its users; here are the fewest that reach a target. Slots and groups
draw independent noise in Poisson samples. Correlated noise is the best of bands amplified by
cyclic sampling and of unamplified schedules, whose noise multipliers are those that leave as
much in the model as the independent noise of the same ratio.
"""

from collections.abc import Callable
import dataclasses
import math
from typing import NamedTuple, Optional

from dp_fedemb.privacy import calibration
from dp_fedemb.privacy import choice
from dp_fedemb.privacy import mechanisms
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import sampling as sampling_lib
from dp_fedemb.privacy.factorization import server as server_lib
from dp_fedemb.privacy.reporting import utility

# More than there are people.
MOST_USERS = 10**10
_CYCLES = (2, 4, 8, 16, 32, choice.MOST_BANDS)


class Question(NamedTuple):
    """What is asked of every kind of noise.

    Attributes:
        users_per_virtual_client: k.
        rounds: planned.
        delta: of the guarantee; None for num_users**-1.1.
        server: its steps.
        ratio: noise-to-signal that may be left.
        target_epsilon: of a user.
    """

    users_per_virtual_client: int
    rounds: int
    delta: Optional[float]
    server: server_lib.Server
    ratio: float
    target_epsilon: float


class Answer(NamedTuple):
    """The fewest users, and with what.

    Attributes:
        num_users: N; None if none up to `MOST_USERS` will do.
        name: of mechanism and sampler; empty if no number will do.
    """

    num_users: Optional[int]
    name: str = ''


def in_slots(question: Question, cohort: int) -> Answer:
    """Independent noise, users sampled and placed each by itself."""
    return _independent(question, cohort, 'slots')


def in_groups(question: Question, cohort: int) -> Answer:
    """Independent noise, whole groups sampled."""
    return _independent(question, cohort, 'groups')


def correlated(question: Question, cohort: int) -> Answer:
    """Noise that takes itself back: the mechanism and sampler that need the fewest users."""
    best = Answer(None)
    for family in _FAMILIES:
        best = _fewer(best, _scheduled(question, cohort, family))
    for cycle in _CYCLES:
        if cycle <= question.rounds:
            best = _fewer(best, _cyclic(question, cohort, cycle, best.num_users))
    return best


def _fewer(first: Answer, second: Answer) -> Answer:
    if first.num_users is None or second.num_users is None:
        return second if first.num_users is None else first
    return min(first, second)


# Name -> the fewest users.
KINDS: dict[str, Callable[[Question, int], Answer]] = {
    'slots': in_slots,
    'groups': in_groups,
    'correlated': correlated,
}

_FAMILIES = (mechanisms.Banded, mechanisms.Bisr, mechanisms.Blt)


def _plan(
    question: Question,
    cohort: int,
    num_users: int,
    mechanism: mechanisms.Mechanism,
    sampling: sampling_lib.Sampling,
) -> plan_lib.PrivacyPlan:
    """The plan whose noise in the model is that of the ratio."""
    k = question.users_per_virtual_client
    plan = plan_lib.PrivacyPlan(
        num_users, cohort, k, question.rounds, mechanism, sampling, question.delta
    )
    factor = question.ratio / utility.equivalent_ratio(plan, question.server)
    return dataclasses.replace(plan, mechanism=plan.mechanism.scaled(factor))


def _independent(question: Question, cohort: int, grouping: str) -> Answer:
    sampling = sampling_lib.Poisson(grouping)
    users = cohort * question.users_per_virtual_client
    plan = _plan(question, cohort, users, mechanisms.Gaussian(1.0, 1.0), sampling)
    return _calibrated(plan, question, f'gaussian, poisson of {grouping}')


def _cyclic(question: Question, cohort: int, cycle: int, below: Optional[int]) -> Answer:
    sampling = sampling_lib.CyclicPoisson(cycle)
    users = cohort * question.users_per_virtual_client * cycle
    # The strategy is for the cycle, whatever the users.
    mechanism = _correlated(question, mechanisms.Banded)
    plan = _plan(question, cohort, users, mechanism, sampling)
    return _calibrated(plan, question, f'banded, cyclic_poisson of {cycle}', below)


def _calibrated(
    plan: plan_lib.PrivacyPlan,
    question: Question,
    name: str,
    below: Optional[int] = None,
) -> Answer:
    """The fewest users of a plan, if that is below another number."""
    most = MOST_USERS if below is None else below - 1
    if plan.delta is not None:
        most = min(most, math.ceil(1 / plan.delta) - 1)
    # One epsilon tells whether a search is worth it.
    if most < plan.num_users or _epsilon(plan, most) > question.target_epsilon:
        return Answer(None)
    solved = calibration.calibrate(plan, question.target_epsilon, 'num_users')
    return Answer(solved.num_users, name)


def _epsilon(plan: plan_lib.PrivacyPlan, num_users: int) -> float:
    return dataclasses.replace(plan, num_users=num_users).epsilon()


def _scheduled(question: Question, cohort: int, family: type[mechanisms.Correlated]) -> Answer:
    """Users that come round every so many rounds; the fewer times, the more users."""
    per_round = cohort * question.users_per_virtual_client
    mechanism = _correlated(question, family)

    def fewest(times: int) -> Optional[int]:
        """Users for so many participations at most, if these are few enough."""
        # An epoch of B rounds begins where B - 1 full rounds do not suffice.
        epoch = -(-question.rounds // times)
        users = max((epoch - 1) * per_round + 1, per_round)
        own = mechanism
        if isinstance(own, mechanisms.Banded) and epoch > choice.MOST_BANDS:
            own = dataclasses.replace(own, bands=choice.MOST_BANDS)
        try:
            plan = _plan(question, cohort, users, own, sampling_lib.MinSeparation())
        except ValueError:
            return None  # Such as a delta that is too large for so many users.
        return users if plan.epsilon() <= question.target_epsilon else None

    if fewest(1) is None:
        return Answer(None)
    enough, too_many = 1, question.rounds + 1
    while too_many - enough > 1:
        middle = (enough + too_many) // 2
        if fewest(middle) is None:
            too_many = middle
        else:
            enough = middle
    return Answer(fewest(enough), f'{mechanism.name}, min_separation')


def _correlated(
    question: Question, family: type[mechanisms.Correlated]
) -> mechanisms.Correlated:
    server = question.server
    return family(
        1.0,
        1.0,
        strategy_momentum=server.momentum,
        strategy_lr_schedule=server.lr_schedule,
        strategy_averaging=server.averaging,
    )

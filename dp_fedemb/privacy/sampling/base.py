"""Cohorts, and what a sampling states of itself."""

import abc
import dataclasses
import math
from typing import ClassVar, Optional

import numpy as np

from dp_fedemb.privacy import analysis as analysis_lib
from dp_fedemb.privacy import mechanisms
from dp_fedemb.privacy import relations
from dp_fedemb.privacy import sensitivity


@dataclasses.dataclass(frozen=True)
class Cohort:
    """The users of one round, by virtual client.

    Attributes:
        users: one int64 array of user indices in [0, N) per virtual client; a
            virtual client may be empty. No user appears twice in a round.
        whole_groups: whether a virtual client with an absent member is void, so that
            nothing of it may enter the sums. Otherwise the others are trained.
    """

    users: tuple[np.ndarray, ...]
    whole_groups: bool = False

    @property
    def num_users(self) -> int:
        """Number of users sampled in the round."""
        return sum(len(users) for users in self.users)


@dataclasses.dataclass(frozen=True)
class Population:
    """Sizes that samplers and accountants share.

    Attributes:
        num_users: N, privacy units in the population.
        virtual_clients_per_round: m, expected cohort in virtual clients.
        users_per_virtual_client: k, expected users in a virtual client.
    """

    num_users: int
    virtual_clients_per_round: int
    users_per_virtual_client: int

    @property
    def users_per_round(self) -> int:
        """m k, expected users in a round."""
        return self.virtual_clients_per_round * self.users_per_virtual_client

    @property
    def sampling_probability(self) -> float:
        """q = m k / N, the expected fraction of users in a round."""
        return self.users_per_round / self.num_users

    @property
    def num_groups(self) -> int:
        """ceil(N / k), groups that the roster is divided into."""
        return -(-self.num_users // self.users_per_virtual_client)


@dataclasses.dataclass(frozen=True)
class Observed:
    """What a schedule actually did, measured on its cohorts.

    Attributes:
        rounds: rounds measured.
        min_separation: least difference between the numbers of two rounds of the same
            user; None if nobody took part twice.
        max_participations: most rounds that one user took part in.
    """

    rounds: int
    min_separation: Optional[int]
    max_participations: int


class Participation:
    """Counts who takes part, round by round.

    Attributes:
        rounds: that were added.
    """

    def __init__(self, num_users: int) -> None:
        self.rounds = 0
        self._last = np.full(num_users, -1)
        self._times = np.zeros(num_users, np.int64)
        self._separation: Optional[int] = None

    def add(self, cohort: Cohort) -> None:
        """Adds the round that follows."""
        users = np.concatenate([np.zeros(0, np.int64), *cohort.users])
        again = users[self._last[users] >= 0]
        if len(again):
            least = int(self.rounds - self._last[again].max())
            known = self._separation
            self._separation = least if known is None else min(known, least)
        self._last[users] = self.rounds
        self._times[users] += 1
        self.rounds += 1

    @property
    def observed(self) -> Observed:
        """What the rounds so far have shown."""
        return Observed(self.rounds, self._separation, int(self._times.max()))


@dataclasses.dataclass(frozen=True)
class Sampling(abc.ABC):
    """A way of choosing a round's users and grouping them into virtual clients.

    How users are grouped is part of it, since what one user can change in the sum
    follows from sampler and grouping together.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def relation(self, unit: str = 'user') -> relations.Relation:
        """Neighbouring relation of `user`, the headline, or of `present_absent`."""

    @property
    @abc.abstractmethod
    def assumption_text(self) -> str:
        """What the accountant assumes of the cohorts, and how it is met."""

    def check(
        self, population: Population, mechanism: mechanisms.Mechanism, rounds: int
    ) -> None:
        """Refuses a pair without a valid analysis.

        Raises:
            ValueError: with the reason.
        """
        del population, rounds
        if mechanism.private and not mechanism.independent_rounds:
            raise ValueError(
                f'sampling={self.name} with mechanism={mechanism.name}: its noise is correlated'
                ' over rounds, and neither amplification by sampling nor a bound on how often'
                ' a user takes part is available then; use sampling=min_separation'
            )

    def most_rounds(self, population: Population) -> float:
        """Rounds after which the sampler must stop; infinite for most."""
        del population
        return math.inf

    def fewest_users(self, population: Population, rounds: int) -> int:
        """Least population that m, k and `rounds` are possible with."""
        del rounds
        return population.users_per_round

    @abc.abstractmethod
    def cohort(self, population: Population, seed: int, round_num: int) -> Cohort:
        """Draws the cohort of a round, a function of its arguments.

        Args:
            population: N, m and k.
            seed: secret seed of the run.
            round_num: from 0.
        """

    @abc.abstractmethod
    def record_change(
        self, population: Population, unit: str = 'user'
    ) -> sensitivity.RecordChange:
        """What one unit changes in a round in which it takes part, at most.

        Args:
            population: N, m and k.
            unit: one of `relations.UNITS`.
        """

    @abc.abstractmethod
    def analysis(
        self,
        population: Population,
        mechanism: mechanisms.Mechanism,
        rounds: int,
        unit: str = 'user',
    ) -> analysis_lib.Analysis:
        """What the accountant is to compute for the first `rounds` rounds.

        Args:
            population: N, m and k.
            mechanism: noise of each round, or of all together.
            rounds: at least 1.
            unit: one of `relations.UNITS`.
        """


def alone(users: np.ndarray, whole_groups: bool = False) -> Cohort:
    """Gives every user a virtual client of its own (k = 1)."""
    return Cohort(tuple(users[i : i + 1] for i in range(len(users))), whole_groups)

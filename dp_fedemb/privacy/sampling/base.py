"""Cohorts, and what a sampler states of itself."""

import abc
import dataclasses
import math
from typing import ClassVar, Optional

import dp_accounting
import numpy as np

from dp_fedemb.privacy import mechanisms
from dp_fedemb.privacy import sensitivity


@dataclasses.dataclass(frozen=True)
class Cohort:
    """The users of one round, by virtual client.

    Attributes:
        users: one int64 array of user indices in [0, N) per virtual client; a
            virtual client may be empty. No user appears twice in a round.
    """

    users: tuple[np.ndarray, ...]

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


@dataclasses.dataclass(frozen=True)
class Sampling(abc.ABC):
    """A way of choosing a round's users and grouping them into virtual clients.

    How users are grouped is part of it, since what one user can change in the sum
    follows from sampler and grouping together.
    """

    name: ClassVar[str]
    neighboring_relation: ClassVar[dp_accounting.NeighboringRelation]
    # The relation in words, for the statement.
    relation_text: ClassVar[str]
    # What the accountant assumes of the cohorts, and how it is met, for the statement.
    assumption_text: ClassVar[str]

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
    def record_change(self, population: Population) -> sensitivity.RecordChange:
        """What one user changes in a round in which it takes part."""

    @abc.abstractmethod
    def event(
        self,
        population: Population,
        mechanism: mechanisms.Mechanism,
        change: sensitivity.RecordChange,
        rounds: int,
    ) -> dp_accounting.DpEvent:
        """Event of the first `rounds` rounds, noise stated over the change of a unit."""


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A sampling with its population and seed: the cohorts of a run.

    Holds no state, so a run that resumes at round t gets the same cohorts as one that
    was never interrupted.
    """

    sampling: Sampling
    population: Population
    seed: int = dataclasses.field(repr=False)

    def cohort(self, round_num: int) -> Cohort:
        """Returns the cohort of a round, from 0."""
        return self.sampling.cohort(self.population, self.seed, round_num)

    def observed(self, rounds: int) -> Observed:
        """Draws the cohorts of the first `rounds` rounds and measures participation."""
        last = np.full(self.population.num_users, -1)
        times = np.zeros(self.population.num_users, np.int64)
        separation = None
        for round_num in range(rounds):
            users = np.concatenate([np.zeros(0, np.int64), *self.cohort(round_num).users])
            again = users[last[users] >= 0]
            if len(again):
                least = int(round_num - last[again].max())
                separation = least if separation is None else min(separation, least)
            last[users] = round_num
            times[users] += 1
        return Observed(rounds, separation, int(times.max()))


def alone(users: np.ndarray) -> Cohort:
    """Gives every user a virtual client of its own (k = 1)."""
    return Cohort(tuple(users[i : i + 1] for i in range(len(users))))

"""Cohorts, and what a sampler states of itself."""

import abc
import dataclasses
from typing import Any, ClassVar

import dp_accounting
import numpy as np


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
class Sampling(abc.ABC):
    """A way of choosing a round's users and grouping them into virtual clients.

    How users are grouped is part of it, since what one user can change in the sum
    follows from sampler and grouping together.
    """

    name: ClassVar[str]
    neighboring_relation: ClassVar[dp_accounting.NeighboringRelation]
    # The relation in words, for the statement.
    relation_text: ClassVar[str]
    # Accountants with a valid analysis of it, the default first.
    accountants: ClassVar[tuple[str, ...]]

    def check(self, population: 'Population', mechanism: Any) -> None:
        """Refuses a pair without a valid analysis.

        Raises:
            ValueError: with the reason.
        """
        del population
        if mechanism.private and not mechanism.independent_rounds:
            raise ValueError(
                f'sampling={self.name} with mechanism={mechanism.name}: its noise is correlated'
                ' over rounds, which amplification by sampling does not cover; use'
                ' sampling=min_separation'
            )

    @abc.abstractmethod
    def cohort(
        self, population: 'Population', generator: np.random.Generator, round_num: int, seed: int
    ) -> Cohort:
        """Draws the cohort of a round.

        Args:
            population: N, m and k.
            generator: stream of this round.
            round_num: from 0.
            seed: the run's seed, for samplers whose rounds depend on each other.
        """

    @abc.abstractmethod
    def sensitivity_over_clip(self, population: 'Population') -> float:
        """L2 change of the clipped sum between neighbours, in units of C."""

    @abc.abstractmethod
    def round_event(
        self, population: 'Population', inner: dp_accounting.DpEvent
    ) -> dp_accounting.DpEvent:
        """Event of one round whose mechanism, on its cohort, is `inner`."""


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
    def sampling_probability(self) -> float:
        """q = m k / N, the expected fraction of users in a round."""
        return self.virtual_clients_per_round * self.users_per_virtual_client / self.num_users

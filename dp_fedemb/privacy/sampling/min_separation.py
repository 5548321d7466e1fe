"""Cyclic and shuffled schedules that bound how often a user takes part."""

import dataclasses
import math
from typing import Optional

import numpy as np

from dp_fedemb import randomness
from dp_fedemb import settings
from dp_fedemb.privacy import analysis as analysis_lib
from dp_fedemb.privacy import mechanisms
from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy import relations
from dp_fedemb.privacy import sensitivity
from dp_fedemb.privacy.sampling import base
from dp_fedemb.privacy.sampling import groups


@dataclasses.dataclass(frozen=True)
class MinSeparation(base.Sampling):
    """Epochs in which every user takes part exactly once, far enough apart.

    Users are put in random order once and dealt into the B = ceil(N / (m k)) rounds of
    an epoch. Cyclic (the default): every epoch repeats it, so that a user comes back
    every B rounds. With a smaller `min_separation` users are reshuffled in every epoch
    within windows of B - min_separation + 1 rounds, as far as the separation allows
    (`min_separation` = 1 is a new order of all users in every epoch).

    The guarantee does not rest on the order being secret or random: rounds are not
    amplified, and only how often and how far apart a user takes part counts, which the
    same object decides.

    In whole groups a round has a multiple of k users (but for the last, smaller group)
    and divides them anew whenever it comes. A user whose data are replaced turns the
    update of its group into another in each of its rounds, 2C apart at most; one that is
    absent voids its group, which is C. In slots a round's users are cut into m virtual
    clients of nearly the same size, and the others of an absent user's are trained
    without it: as in DP-FTRL (Kairouz et al. 2021, arXiv 2103.00039, Definition 1.1) the
    population is of fixed size, and the update becomes zero with k = 1 (C), another with
    k > 1 (2C).

    Attributes:
        min_separation: least difference between the numbers of two rounds of the same
            user; None for the greatest, B.
        max_participations: bound on the rounds of one user, checked against the
            planned rounds; None for none.
        grouping: one of `groups.GROUPINGS`.
    """

    name = 'min_separation'

    min_separation: Optional[int] = settings.setting(
        None,
        'Schedules: least distance of two rounds of a user; by default the greatest.',
        within='[1, 1e8]',
    )
    max_participations: Optional[int] = settings.setting(
        None, 'Schedules: most rounds of a user; by default any number.', within='[1, 1e8]'
    )
    grouping: str = settings.setting(
        groups.GROUPS, groups.HELP, choices=groups.GROUPINGS, absent=groups.SLOTS
    )

    def __post_init__(self) -> None:
        settings.check(self)

    def relation(self, unit: str = 'user') -> relations.Relation:
        if self.grouping == groups.GROUPS:
            return relations.REPLACED if unit == 'user' else relations.VOID
        return relations.RETRAINED

    @property
    def assumption_text(self) -> str:
        return (
            'every user takes part at most as often, and at least as far apart, as stated, in'
            ' rounds and groups that do not depend on data; nothing is assumed to be random'
        )

    def participation(
        self, population: base.Population
    ) -> participation_lib.ParticipationSchedule:
        """The rounds that users can take part in."""
        epoch = math.ceil(population.num_users / population.users_per_round)
        separation = epoch if self.min_separation is None else self.min_separation
        return participation_lib.ParticipationSchedule(epoch, epoch - separation + 1)

    def check(
        self, population: base.Population, mechanism: mechanisms.Mechanism, rounds: int
    ) -> None:
        del mechanism  # Any: nothing here relies on independent rounds.
        epoch = math.ceil(population.num_users / population.users_per_round)
        if self.min_separation is not None and self.min_separation > epoch:
            raise ValueError(
                f'min_separation={self.min_separation}: {population.num_users} users,'
                f' {population.users_per_round} a round, come round every {epoch} rounds;'
                f' expected at most {epoch}'
            )
        if rounds > self.most_rounds(population):
            most = self.participation(population).most(rounds)
            raise ValueError(
                f'max_participations={self.max_participations}: {rounds} rounds need {most}'
                f' of each user; expected at most {self.most_rounds(population)} rounds,'
                ' or more users'
            )

    def most_rounds(self, population: base.Population) -> float:
        if self.max_participations is None:
            return math.inf
        return self.participation(population).epoch * self.max_participations

    def fewest_users(self, population: base.Population, rounds: int) -> int:
        epoch = self.min_separation or 1
        if self.max_participations is not None:
            epoch = max(epoch, math.ceil(rounds / self.max_participations))
        # An epoch of B rounds begins where B - 1 full rounds do not suffice.
        return max((epoch - 1) * population.users_per_round + 1, population.users_per_round)

    def cohort(self, population: base.Population, seed: int, round_num: int) -> base.Cohort:
        if round_num >= self.most_rounds(population):
            raise ValueError(
                f'round_num={round_num}: users have taken part max_participations='
                f'{self.max_participations} times; expected less than'
                f' {self.most_rounds(population)}'
            )
        users = self._round_users(population, seed, round_num)
        whole = self.grouping == groups.GROUPS
        if population.users_per_virtual_client == 1:
            return base.alone(users, whole)
        # The same places for neighbours, whose users are as many.
        generator = randomness.generator(seed, 'min_separation/slots', round_num)
        users = generator.permutation(users)
        if whole:
            return base.Cohort(groups.divide(users, population.users_per_virtual_client), True)
        slots = population.virtual_clients_per_round
        return base.Cohort(tuple(np.array_split(users, slots)))

    def record_change(
        self, population: base.Population, unit: str = 'user'
    ) -> sensitivity.RecordChange:
        if self.grouping == groups.GROUPS or unit == 'virtual_client':
            return groups.record_change(unit)
        alone = population.users_per_virtual_client == 1
        return sensitivity.EMPTIED if alone else sensitivity.REPLACED

    def analysis(
        self,
        population: base.Population,
        mechanism: mechanisms.Mechanism,
        rounds: int,
        unit: str = 'user',
    ) -> analysis_lib.Analysis:
        squared = mechanism.squared_sensitivity(
            self.record_change(population, unit), self.participation(population), rounds
        )
        return analysis_lib.Gaussian(squared**-0.5)

    def _begins(self, population: base.Population) -> np.ndarray:
        """Where the rounds of an epoch begin in the order of users, and where it ends."""
        # What is dealt out as evenly as can be: groups, or users each by itself.
        whole = self.grouping == groups.GROUPS
        size = population.users_per_virtual_client if whole else 1
        count = -(-population.num_users // size)
        epoch = self.participation(population).epoch
        return np.minimum(np.arange(epoch + 1) * count // epoch * size, population.num_users)

    def _round_users(
        self, population: base.Population, seed: int, round_num: int
    ) -> np.ndarray:
        schedule = self.participation(population)
        epoch_num, place = divmod(round_num, schedule.epoch)
        order = randomness.generator(seed, 'min_separation/order').permutation(
            population.num_users
        )
        begins = self._begins(population)
        window = place // schedule.window
        first = window * schedule.window
        last = min(first + schedule.window, schedule.epoch)
        members = order[begins[first] : begins[last]]
        if schedule.window > 1:
            members = randomness.generator(
                seed, 'min_separation/window', epoch_num, window
            ).permutation(members)
        offset = begins[first]
        return members[begins[place] - offset : begins[place + 1] - offset].astype(np.int64)

"""Cyclic and shuffled schedules that bound how often a user takes part."""

import dataclasses
import math
from typing import Optional

import dp_accounting
import numpy as np

from dp_fedemb import randomness
from dp_fedemb import settings
from dp_fedemb import validate
from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy import sensitivity
from dp_fedemb.privacy.sampling import base


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
    same object decides. Neighbours are as in DP-FTRL (Kairouz et al. 2021, arXiv
    2103.00039, Definition 1.1): a user's data are there or not, in a population of
    fixed size. With k = 1 the user's update becomes zero (C); with k > 1 the update of
    its virtual client becomes another (2C).

    Attributes:
        min_separation: least difference between the numbers of two rounds of the same
            user; None for the greatest, B.
        max_participations: bound on the rounds of one user, checked against the
            planned rounds; None for none.
    """

    name = 'min_separation'
    neighboring_relation = dp_accounting.NeighboringRelation.REPLACE_SPECIAL
    relation_text = (
        'differ by all data of one user, present or absent, in a population of fixed size'
    )
    assumption_text = (
        'every user takes part at most as often, and at least as far apart, as stated, in'
        ' rounds that do not depend on data; nothing is assumed to be random'
    )

    min_separation: Optional[int] = settings.setting(
        None, 'Schedules: least distance of two rounds of a user; by default the greatest.'
    )
    max_participations: Optional[int] = settings.setting(
        None, 'Schedules: most rounds of a user; by default any number.'
    )

    def __post_init__(self) -> None:
        if self.min_separation is not None:
            validate.positive(min_separation=self.min_separation)
        if self.max_participations is not None:
            validate.positive(max_participations=self.max_participations)

    def participation(
        self, population: base.Population
    ) -> participation_lib.ParticipationSchedule:
        """The rounds that users can take part in."""
        epoch = math.ceil(population.num_users / population.users_per_round)
        separation = epoch if self.min_separation is None else self.min_separation
        return participation_lib.ParticipationSchedule(epoch, epoch - separation + 1)

    def check(self, population, mechanism, rounds):
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

    def most_rounds(self, population):
        if self.max_participations is None:
            return math.inf
        return self.participation(population).epoch * self.max_participations

    def fewest_users(self, population, rounds):
        epoch = self.min_separation or 1
        if self.max_participations is not None:
            epoch = max(epoch, math.ceil(rounds / self.max_participations))
        # An epoch of B rounds begins where B - 1 full rounds do not suffice.
        return max((epoch - 1) * population.users_per_round + 1, population.users_per_round)

    def cohort(self, population, seed, round_num):
        if round_num >= self.most_rounds(population):
            raise ValueError(
                f'round_num={round_num}: users have taken part max_participations='
                f'{self.max_participations} times; expected less than'
                f' {self.most_rounds(population)}'
            )
        users = self._round_users(population, seed, round_num)
        if population.users_per_virtual_client == 1:
            return base.alone(users)
        # The same places for neighbours, whose users are as many.
        generator = randomness.generator(seed, 'min_separation/slots', round_num)
        slots = population.virtual_clients_per_round
        return base.Cohort(tuple(np.array_split(generator.permutation(users), slots)))

    def record_change(self, population):
        if population.users_per_virtual_client == 1:
            return sensitivity.EMPTIED
        return sensitivity.REPLACED

    def event(self, population, mechanism, change, rounds):
        squared = mechanism.squared_sensitivity(change, self.participation(population), rounds)
        return dp_accounting.GaussianDpEvent(squared**-0.5)

    def _round_users(self, population, seed, round_num):
        schedule = self.participation(population)
        epoch_num, place = divmod(round_num, schedule.epoch)
        order = randomness.generator(seed, 'min_separation/order').permutation(
            population.num_users
        )
        # Where the rounds of an epoch begin in the order; sizes differ by at most one.
        begins = np.arange(schedule.epoch + 1) * population.num_users // schedule.epoch
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

"""Poisson sampling: of whole groups, or of users that are placed each on its own."""

import dataclasses

import numpy as np

from dp_fedemb import randomness
from dp_fedemb import settings
from dp_fedemb.privacy import analysis as analysis_lib
from dp_fedemb.privacy import mechanisms
from dp_fedemb.privacy import relations
from dp_fedemb.privacy import sensitivity
from dp_fedemb.privacy.sampling import base
from dp_fedemb.privacy.sampling import groups


@dataclasses.dataclass(frozen=True)
class Poisson(base.Sampling):
    """Groups, or users, join a round independently with probability q = m k / N.

    **Groups.** The roster is divided anew in every round (`groups`), and each group joins
    as a whole. Fix the division, who else joins, and all their randomness, none of which
    depends on the user's data; let f be the sum of the others and v that of the user's
    group, |v| <= C. The round is (1 - q) N(f, s^2) + q N(f + v, s^2). A user whose data are
    replaced turns v into w, and the pair is dominated by that of v = C e, w = -C e: for
    every event of probability p under N(f) one half-space along e is most likely under
    N(f + C e) and least under N(f - C e) at once (docs/privacy.md has every step). A group
    with an absent member is void, so without the user the round is N(f, s^2): the
    Gaussian of sensitivity C sampled with q.

    **Slots.** Every user joins by itself and, with k > 1, goes uniformly into one of
    exactly m virtual clients. Nobody's membership or slot depends on anybody else, so
    removing a user turns one clipped vector into another, a change of at most 2C, and no
    other moves. (Dealing the sampled users into consecutive groups of k would shift
    everyone behind the removed user.) Given the places and the randomness of all others,
    the output without the user is N(f, s^2), and with it (1 - q) N(f, s^2) + q times the
    mean over slots j of N(f + d_j, s^2) with |d_j| <= 2C. By joint convexity of the
    hockey-stick divergence, over those conditions and over the slots, either order is at
    most that of a Gaussian of sensitivity 2C sampled with q. With k = 1 removing the user
    removes a vector of norm at most C.

    Attributes:
        grouping: one of `groups.GROUPINGS`.
    """

    name = 'poisson'

    grouping: str = settings.setting(
        groups.GROUPS, groups.HELP, choices=groups.GROUPINGS, absent=groups.SLOTS
    )

    def __post_init__(self) -> None:
        settings.check(self)

    def relation(self, unit: str = 'user') -> relations.Relation:
        if self.grouping == groups.GROUPS:
            return relations.REPLACED if unit == 'user' else relations.VOID
        return relations.ADDED_OR_REMOVED if unit == 'user' else relations.RETRAINED

    @property
    def assumption_text(self) -> str:
        if self.grouping == groups.GROUPS:
            return (
                'the roster is divided into groups of k anew in every round, whatever the'
                ' data, and every group joins independently with probability q; cohorts are'
                ' drawn exactly so'
            )
        return (
            'every user joins every round independently with probability q, and goes to a'
            ' virtual client independently of all others; cohorts are drawn exactly so'
        )

    def cohort(self, population: base.Population, seed: int, round_num: int) -> base.Cohort:
        generator = randomness.generator(seed, 'cohort', round_num)
        whole = self.grouping == groups.GROUPS
        k = population.users_per_virtual_client
        if k > 1 and whole:
            divided = groups.divide(generator.permutation(population.num_users), k)
            joined = generator.random(len(divided)) < population.sampling_probability
            return base.Cohort(tuple(divided[i] for i in np.flatnonzero(joined)), True)
        joined = generator.random(population.num_users) < population.sampling_probability
        users = np.flatnonzero(joined).astype(np.int64)
        if k == 1:
            return base.alone(users, whole)
        count = population.virtual_clients_per_round
        slots = generator.integers(count, size=len(users))
        by_slot = users[np.argsort(slots, kind='stable')]
        ends = np.cumsum(np.bincount(slots, minlength=count))
        return base.Cohort(tuple(np.split(by_slot, ends[:-1])))

    def record_change(
        self, population: base.Population, unit: str = 'user'
    ) -> sensitivity.RecordChange:
        if self.grouping == groups.GROUPS or unit == 'virtual_client':
            return groups.record_change(unit)
        alone = population.users_per_virtual_client == 1
        return sensitivity.REMOVED if alone else sensitivity.REPLACED

    def analysis(
        self,
        population: base.Population,
        mechanism: mechanisms.Mechanism,
        rounds: int,
        unit: str = 'user',
    ) -> analysis_lib.Analysis:
        kind, change = 'add_or_remove', self.record_change(population, unit)
        if self.grouping == groups.GROUPS and unit == 'user':
            # Either data set moves the sum by C, in opposite directions.
            kind, change = 'replaced', sensitivity.REMOVED
        return analysis_lib.SampledGaussian(
            kind,
            mechanism.noise_over_sensitivity(change),
            population.sampling_probability,
            rounds,
        )

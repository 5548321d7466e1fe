"""Poisson sampling of users, each assigned to a virtual client on its own."""

import dataclasses

import dp_accounting
import numpy as np

from dp_fedemb import randomness
from dp_fedemb.privacy import sensitivity
from dp_fedemb.privacy.sampling import base


@dataclasses.dataclass(frozen=True)
class Poisson(base.Sampling):
    """Every user joins a round independently with probability q.

    With k > 1 each sampled user goes, independently and uniformly, into one of
    exactly m virtual clients. Nobody's membership or slot depends on anybody else,
    so removing a user changes one virtual client and no other: one clipped vector
    becomes another, a change of at most 2C. (Dealing the sampled users into
    consecutive groups of k would shift everyone behind the removed user into other
    groups, and the change would be bounded only by 2C times the number of groups.)
    Which of the m it is, and in which direction it moves, depends on the rest of the
    round. Given the places and the randomness of all others, the output without the user
    is N(f, s^2), and with it (1 - q) N(f, s^2) + q times the mean over slots j of
    N(f + d_j, s^2) with |d_j| <= 2C. By joint convexity of the hockey-stick divergence,
    over those conditions and over the slots, either order is at most that of the worst
    single case, a Gaussian of sensitivity 2C sampled with probability q.

    With k = 1 every sampled user has a virtual client alone: removing the user
    removes a vector of norm at most C.
    """

    name = 'poisson'
    neighboring_relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    relation_text = 'differ by all data of one user, added or removed'
    assumption_text = (
        'every user joins every round independently with probability q, and goes to a virtual'
        ' client independently of all others; cohorts are drawn exactly so'
    )

    def cohort(self, population, seed, round_num):
        generator = randomness.generator(seed, 'cohort', round_num)
        joined = generator.random(population.num_users) < population.sampling_probability
        users = np.flatnonzero(joined).astype(np.int64)
        if population.users_per_virtual_client == 1:
            return base.alone(users)
        count = population.virtual_clients_per_round
        slots = generator.integers(count, size=len(users))
        by_slot = users[np.argsort(slots, kind='stable')]
        ends = np.cumsum(np.bincount(slots, minlength=count))
        return base.Cohort(tuple(np.split(by_slot, ends[:-1])))

    def record_change(self, population):
        if population.users_per_virtual_client == 1:
            return sensitivity.REMOVED
        return sensitivity.REPLACED

    def event(self, population, mechanism, change, rounds):
        gaussian = dp_accounting.GaussianDpEvent(mechanism.noise_over_sensitivity(change))
        sampled = dp_accounting.PoissonSampledDpEvent(population.sampling_probability, gaussian)
        return dp_accounting.SelfComposedDpEvent(sampled, rounds)

"""Poisson sampling of users, each assigned to a virtual client on its own."""

import dataclasses

import dp_accounting
import numpy as np

from dp_fedemb.privacy import randomness
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
    round; by joint convexity of the hockey-stick divergence the mixture is dominated
    by the worst single case, a Gaussian of sensitivity 2C sampled with q.

    With k = 1 every sampled user has a virtual client alone: removing the user
    removes a vector of norm at most C.
    """

    name = 'poisson'
    neighboring_relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    relation_text = 'differ by all data of one user, added or removed'

    def cohort(self, population, seed, round_num):
        generator = randomness.generator(seed, 'cohort', round_num)
        joined = generator.random(population.num_users) < population.sampling_probability
        users = np.flatnonzero(joined).astype(np.int64)
        if population.users_per_virtual_client == 1:
            return base.alone(users)
        count = population.virtual_clients_per_round
        slots = generator.integers(count, size=len(users))
        return base.Cohort(tuple(users[slots == slot] for slot in range(count)))

    def record_change(self, population):
        if population.users_per_virtual_client == 1:
            return sensitivity.REMOVED
        return sensitivity.REPLACED

    def event(self, population, mechanism, change, rounds):
        gaussian = dp_accounting.GaussianDpEvent(mechanism.noise_over_sensitivity(change))
        sampled = dp_accounting.PoissonSampledDpEvent(
            population.sampling_probability, gaussian
        )
        return dp_accounting.SelfComposedDpEvent(sampled, rounds)

"""Fixed-size sampling of users without replacement."""

import dataclasses

import numpy as np

from dp_fedemb import randomness
from dp_fedemb.privacy import analysis as analysis_lib
from dp_fedemb.privacy import mechanisms
from dp_fedemb.privacy import relations
from dp_fedemb.privacy import sensitivity
from dp_fedemb.privacy.sampling import base


@dataclasses.dataclass(frozen=True)
class FixedSize(base.Sampling):
    """Exactly m k users a round, uniformly without replacement, k to a virtual client.

    How the paper's released code samples, and most federated simulations do. The
    size of the cohort is fixed, so neighbours must have the same number of users: one
    user's data are replaced by another's. The places of all users are the same for
    both, so one virtual client's update changes, by at most 2C, with k = 1 as well.

    Analysis: with P and Q Gaussians of that sensitivity, a round's hockey-stick
    divergence is at most q H_a(P || Q) at 1 + q (a - 1) (Balle, Barthe and Gaboardi
    2018, arXiv 1807.01647, Theorem 9, substitution); rounds compose by dominating pairs
    (Zhu, Dong and Wang 2022, arXiv 2106.08567).
    """

    name = 'fixed_size'

    def relation(self, unit: str = 'user') -> relations.Relation:
        return relations.REPLACED if unit == 'user' else relations.RETRAINED

    @property
    def assumption_text(self) -> str:
        return (
            'every round is a uniformly random set of m k users, independent of the rounds'
            ' before; cohorts are drawn exactly so'
        )

    def cohort(self, population: base.Population, seed: int, round_num: int) -> base.Cohort:
        generator = randomness.generator(seed, 'cohort', round_num)
        # A prefix of a random order is a random subset in random order, so cutting it
        # into groups of k is a uniformly random grouping.
        users = generator.permutation(population.num_users)[: population.users_per_round]
        return base.Cohort(
            tuple(np.split(users.astype(np.int64), population.virtual_clients_per_round))
        )

    def record_change(
        self, population: base.Population, unit: str = 'user'
    ) -> sensitivity.RecordChange:
        del population
        return sensitivity.REMOVED if unit == 'virtual_client' else sensitivity.REPLACED

    def analysis(
        self,
        population: base.Population,
        mechanism: mechanisms.Mechanism,
        rounds: int,
        unit: str = 'user',
    ) -> analysis_lib.Analysis:
        return analysis_lib.SampledGaussian(
            'without_replacement',
            mechanism.noise_over_sensitivity(self.record_change(population, unit)),
            population.sampling_probability,
            rounds,
        )

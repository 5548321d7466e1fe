"""Poisson sampling of groups from one part of the roster after the other."""

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
class CyclicPoisson(base.Sampling):
    """Amplified banded noise: Choquette-Choo et al. (2023, arXiv 2306.08153, section 5).

    The roster is divided once, whatever the data, into b parts of the same size. Round t
    samples from part t mod b alone: it divides the part anew into groups of k, each of
    which joins as a whole with probability b q, so that m are expected as ever.

    With a strategy C of at most b bands, what a user does in round t is in the rows t to
    t + b - 1 of C x + Z, and its next chance is in row t + b. So the rounds fall into blocks
    of b rows, one for each chance of the user. Given everything before a block, everybody
    else's places and randomness, and f, what the others contribute to it as a function of
    the rows released so far, the block is

        (1 - b q) N(f, s^2) + b q N(f + c v, s^2),

    v the update of the user's group, |v| <= C, and c v its product with every coefficient,
    of norm at most ||c|| C: the Poisson-subsampled Gaussian of `Poisson` with b q for q and
    noise over ||c|| C. Replaced data turn v into w and are dominated by the antipodal
    pair as they are there. All rounds are ceil(T / b) such blocks, composed adaptively.

    Attributes:
        cycle_rounds: b.
    """

    name = 'cyclic_poisson'

    cycle_rounds: Optional[int] = settings.setting(
        None,
        'sampling=cyclic_poisson: parts of the roster, each sampled in one round of a cycle;'
        ' the greatest number of bands.',
        within='[1, 1e8]',
    )

    def __post_init__(self) -> None:
        settings.check(self)

    def relation(self, unit: str = 'user') -> relations.Relation:
        return relations.REPLACED if unit == 'user' else relations.VOID

    @property
    def assumption_text(self) -> str:
        return (
            f'the roster is divided once into {self.cycle_rounds} parts, and the part of a'
            ' round anew into groups of k, whatever the data; every group joins'
            ' independently with the same probability; cohorts are drawn exactly so'
        )

    def participation(
        self, population: base.Population
    ) -> participation_lib.ParticipationSchedule:
        """The rounds that users can be sampled in."""
        del population
        return participation_lib.ParticipationSchedule(self._cycle())

    def check(
        self, population: base.Population, mechanism: mechanisms.Mechanism, rounds: int
    ) -> None:
        del rounds
        cycle = self._cycle()
        if mechanism.private and mechanism.spread > cycle:
            raise ValueError(
                f'sampling={self.name} with mechanism={mechanism.name}: an update is in the'
                f' noise of {mechanism.spread:g} rounds, and users come round every {cycle};'
                ' choose mechanism=banded with at most so many bands, or'
                ' sampling=min_separation'
            )
        if self._probability(population) > 1:
            raise ValueError(
                f'cycle_rounds={cycle} with {population.users_per_round} users a round:'
                f' {cycle * population.users_per_round} a cycle, of'
                f' {population.num_users}; expected at most'
                f' {population.num_users // population.users_per_round}'
            )

    def fewest_users(self, population: base.Population, rounds: int) -> int:
        del rounds
        return population.users_per_round * self._cycle()

    def cohort(self, population: base.Population, seed: int, round_num: int) -> base.Cohort:
        order = randomness.generator(seed, 'cyclic_poisson/order').permutation(
            population.num_users
        )
        part = round_num % self._cycle()
        begin, end = (
            place * population.num_users // self._cycle() for place in (part, part + 1)
        )
        generator = randomness.generator(seed, 'cohort', round_num)
        divided = groups.divide(
            generator.permutation(order[begin:end]), population.users_per_virtual_client
        )
        joined = generator.random(len(divided)) < self._probability(population)
        return base.Cohort(tuple(divided[i] for i in np.flatnonzero(joined)), True)

    def record_change(
        self, population: base.Population, unit: str = 'user'
    ) -> sensitivity.RecordChange:
        del population
        return groups.record_change(unit)

    def analysis(
        self,
        population: base.Population,
        mechanism: mechanisms.Mechanism,
        rounds: int,
        unit: str = 'user',
    ) -> analysis_lib.Analysis:
        return analysis_lib.SampledGaussian(
            # Either data set moves the sum by C, in opposite directions.
            'replaced' if unit == 'user' else 'add_or_remove',
            mechanism.noise_over_sensitivity(sensitivity.REMOVED),
            self._probability(population),
            math.ceil(rounds / self._cycle()),
        )

    def _cycle(self) -> int:
        if self.cycle_rounds is None:
            raise ValueError(
                'cycle_rounds=None: expected the number of parts of the roster, for instance'
                ' 8; more of them correlate the noise better and amplify it less'
            )
        return self.cycle_rounds

    def _probability(self, population: base.Population) -> float:
        """b q, that a group of the round's part joins."""
        return self._cycle() * population.sampling_probability

"""The privacy plan: sampler, grouping, mechanism and accountant as one object.

A training run gets its cohorts, its noise and its epsilon from the same plan, so
it cannot sample one way and account another. The conventions, stated here once:

| name                       | symbol | meaning                                         |
|----------------------------|--------|-------------------------------------------------|
| `num_users`                | N      | population of privacy units; a user is all      |
|                            |        | images of one person or owner                   |
| `virtual_clients_per_round`| m      | expected cohort, and the public divisor         |
| `users_per_virtual_client` | k      | expected users merged into one virtual client   |
| `clip_norm`                | C      | L2 bound of one virtual client's backbone       |
|                            |        | update, in units of the weights                 |
| `noise_multiplier`         | z      | (std of the noise on the sum) / C               |
| `sampling_probability`     | q      | m k / N                                         |
| `delta`                    |        | N**-1.1 unless given; refused at 1 / N and above|

The sensitivity is derived from sampler and grouping, never typed: C where a user
has a virtual client alone, 2C where users share one.
"""

import dataclasses
import math
from typing import Any, Optional

import dp_accounting

from dp_fedemb import validate
from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import mechanisms
from dp_fedemb.privacy import randomness
from dp_fedemb.privacy import sampling as sampling_lib

UNITS = ('user', 'virtual_client')


@dataclasses.dataclass(frozen=True)
class PrivacyPlan:
    """What is sampled, grouped, clipped and noised, and what that costs.

    Attributes:
        num_users: N.
        virtual_clients_per_round: m.
        users_per_virtual_client: k.
        rounds: planned number of rounds.
        mechanism: clip and noise.
        sampling: who takes part, and in which virtual client.
        delta: of the guarantee; None for N**-1.1.
        noise_cohort_size: M, simulates a deployment with M >= m virtual clients per
            round out of N M / m users: the noise is scaled by m / M, so that the
            noise-to-signal ratio is that of the larger cohort. The epsilon is then
            that of the deployment, and this run has none.
    """

    num_users: int
    virtual_clients_per_round: int
    users_per_virtual_client: int
    rounds: int
    mechanism: mechanisms.Mechanism
    sampling: sampling_lib.Sampling = sampling_lib.Poisson()
    delta: Optional[float] = None
    noise_cohort_size: Optional[int] = None

    def __post_init__(self):
        for name in ('num_users', 'virtual_clients_per_round', 'users_per_virtual_client', 'rounds'):
            value = getattr(self, name)
            if value != int(value):
                raise ValueError(f'{name}={value!r}: expected a whole number')
            validate.positive(**{name: value})
        if self.sampling_probability > 1:
            needed = self.virtual_clients_per_round * self.users_per_virtual_client
            raise ValueError(
                f'virtual_clients_per_round={self.virtual_clients_per_round} times'
                f' users_per_virtual_client={self.users_per_virtual_client} is {needed} users a'
                f' round, but num_users={self.num_users}; lower one of the first two'
            )
        delta = self.guarantee_delta
        if not 0 < delta < 1 / self.guarantee_population.num_users:
            raise ValueError(
                f'delta={delta}: expected a number above 0 and below 1/num_users ='
                f' {1 / self.guarantee_population.num_users:.3g}; leave it unset for N**-1.1'
            )
        if self.noise_cohort_size is not None:
            if self.noise_cohort_size < self.virtual_clients_per_round:
                raise ValueError(
                    f'noise_cohort_size={self.noise_cohort_size}: expected at least'
                    f' virtual_clients_per_round={self.virtual_clients_per_round}'
                )
        self.sampling.check(self.population, self.mechanism)

    @property
    def population(self) -> sampling_lib.Population:
        """N, m and k of the run."""
        return sampling_lib.Population(
            self.num_users, self.virtual_clients_per_round, self.users_per_virtual_client
        )

    @property
    def guarantee_population(self) -> sampling_lib.Population:
        """N, m and k that the epsilon is about: the run's, or the simulated ones."""
        if self.noise_cohort_size is None:
            return self.population
        scale = self.noise_cohort_size / self.virtual_clients_per_round
        return sampling_lib.Population(
            round(self.num_users * scale), self.noise_cohort_size, self.users_per_virtual_client
        )

    @property
    def guarantee_delta(self) -> float:
        """The delta that the epsilon is stated at."""
        if self.delta is not None:
            return self.delta
        return max(self.guarantee_population.num_users, 2) ** -1.1

    @property
    def sampling_probability(self) -> float:
        """q = m k / N."""
        return self.population.sampling_probability

    @property
    def sensitivity_over_clip(self) -> float:
        """L2 change of the clipped sum when one user changes, in units of C."""
        return self.sampling.sensitivity_over_clip(self.population)

    @property
    def neighboring_relation(self) -> dp_accounting.NeighboringRelation:
        """The relation between data sets that the guarantee is about."""
        return self.sampling.neighboring_relation

    @property
    def noise_stddev(self) -> float:
        """Standard deviation per coordinate of the noise on the sum, units of weights."""
        if self.mechanism.noise_multiplier == 0:
            return 0.0
        stddev = self.mechanism.noise_multiplier * self.mechanism.clip_norm
        if self.noise_cohort_size is not None:
            stddev *= self.virtual_clients_per_round / self.noise_cohort_size
        return stddev

    @property
    def private(self) -> bool:
        """Whether the run has, or simulates, a finite epsilon."""
        return self.mechanism.private

    def cohort(self, seed: int, round_num: int) -> sampling_lib.Cohort:
        """Draws a round's cohort, the same for the same seed and round.

        Args:
            seed: secret seed of the run.
            round_num: from 0.
        """
        stream = randomness.generator(seed, 'cohort', round_num)
        return self.sampling.cohort(self.population, stream, round_num, seed)

    def round_event(self, unit: str = 'user') -> dp_accounting.DpEvent:
        """Returns the event of one round, noise relative to the unit's sensitivity.

        Args:
            unit: `user`, under the derived sensitivity; or `virtual_client`, the
                convention of the literature, whose noise is against C and whose
                privacy unit is a virtual client, not a user.

        Raises:
            ValueError: for an unknown unit.
        """
        validate.one_of('unit', unit, UNITS)
        if not self.private:
            return dp_accounting.NonPrivateDpEvent()
        ratio = self.mechanism.noise_multiplier
        if unit == 'user':
            ratio /= self.sensitivity_over_clip
        return self.sampling.round_event(
            self.guarantee_population, dp_accounting.GaussianDpEvent(ratio)
        )

    def epsilon(
        self,
        rounds: Optional[int] = None,
        unit: str = 'user',
        accountant: str = 'pld',
        fine: bool = True,
    ) -> float:
        """Returns epsilon after `rounds` rounds (all planned ones by default).

        Args:
            rounds: completed rounds; 0 gives 0.
            unit: as in `round_event`.
            accountant: `pld` or `rdp`.
            fine: False for a hundredfold faster upper bound, for progress displays.

        Raises:
            ValueError: if `accountant` has no valid analysis of this plan.
        """
        rounds = self.rounds if rounds is None else rounds
        if rounds == 0:
            return 0.0
        if not self.private:
            return math.inf
        return accounting.epsilon(
            self.round_event(unit),
            rounds,
            self.guarantee_delta,
            self.neighboring_relation,
            accountant,
            accounting.FINE_GRID if fine else accounting.COARSE_GRID,
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the plan as JSON values, without secrets."""
        fields = dataclasses.asdict(self)
        fields['mechanism'] = {'name': self.mechanism.name, **fields['mechanism']}
        fields['sampling'] = {'name': self.sampling.name, **fields['sampling']}
        if math.isinf(self.mechanism.clip_norm):
            fields['mechanism']['clip_norm'] = None
        return fields

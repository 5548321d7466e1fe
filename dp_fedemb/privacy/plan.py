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

The sensitivity is derived from sampler, grouping and relation, never typed: C where a
user that goes takes its virtual client along or leaves it empty, 2C where it turns one
virtual client's update into another. What neighbours are is in `relations`.
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any, Optional

from dp_fedemb import settings
from dp_fedemb import validate
from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import analysis as analysis_lib
from dp_fedemb.privacy import mechanisms
from dp_fedemb.privacy import relations
from dp_fedemb.privacy import repeats
from dp_fedemb.privacy import sampling as sampling_lib


@dataclasses.dataclass(frozen=True)
class PrivacyPlan:
    """What is sampled, grouped, clipped and noised, and what that costs.

    >>> plan = PrivacyPlan(
    ...     num_users=3400, virtual_clients_per_round=32, users_per_virtual_client=8,
    ...     rounds=200,
    ...     mechanism=mechanisms.Gaussian(clip_norm=1.0, noise_multiplier=0.62))
    >>> plan.sensitivity_over_clip, round(plan.epsilon(), 1)
    (2.0, 22.9)
    >>> round(plan.epsilon(unit='present_absent'), 1)
    17.6

    Attributes:
        num_users: N.
        virtual_clients_per_round: m.
        users_per_virtual_client: k.
        rounds: planned number of rounds.
        mechanism: clip and noise. The plan's copy has what follows from the cohort
            or the schedule filled in (`Mechanism.for_cohort`, `for_schedule`).
        sampling: who takes part, and in which virtual client.
        delta: of the guarantee; None for N**-1.1.
        noise_cohort_size: M, simulates a deployment with M >= m virtual clients per
            round out of N M / m users, so with the same q, k and rounds: the mechanism
            is the deployment's and its noise is scaled by m / M, which gives the mean
            update of this run the noise of the deployment's. The epsilon is that of
            the deployment, and this run has none.
    """

    num_users: int = settings.setting(help='N: users in the population.', within='[1, 1e12]')
    virtual_clients_per_round: int = settings.setting(
        help='m: expected virtual clients, and the divisor.', within='[1, 1e9]'
    )
    users_per_virtual_client: int = settings.setting(
        help='k: expected users merged into a virtual client.', within='[1, 1e9]'
    )
    rounds: int = settings.setting(help='Rounds to train.', within='[1, 1e8]')
    mechanism: mechanisms.Mechanism  # type: ignore[misc]  # Those above have no default.
    sampling: sampling_lib.Sampling = sampling_lib.Poisson()
    delta: Optional[float] = settings.setting(
        None, 'Of the guarantee; num_users**-1.1 by default.', within='(0, 1)'
    )
    noise_cohort_size: Optional[int] = settings.setting(
        None,
        'M: trains with the noise of a deployment of M virtual clients a round. The'
        ' epsilon is then of that deployment, not of this run.',
        within='[1, 1e12]',
    )

    def __post_init__(self) -> None:
        settings.check(self)
        _check_kind('mechanism', self.mechanism, mechanisms.Mechanism, mechanisms.MECHANISMS)
        _check_kind('sampling', self.sampling, sampling_lib.Sampling, sampling_lib.SAMPLINGS)
        m, k = self.virtual_clients_per_round, self.users_per_virtual_client
        if self.sampling_probability > 1:
            raise ValueError(
                f'virtual_clients_per_round={m} times users_per_virtual_client={k} is'
                f' {m * k} users a round, but num_users={self.num_users} (q > 1); lower one'
                ' of the first two'
            )
        if self.noise_cohort_size is not None:
            if self.noise_cohort_size < m:
                raise ValueError(
                    f'noise_cohort_size={self.noise_cohort_size}: expected at least'
                    f' virtual_clients_per_round={m}'
                )
            if not self.mechanism.private:
                raise ValueError(
                    f'noise_cohort_size={self.noise_cohort_size} with mechanism='
                    f'{self.mechanism.name}: there is no noise to scale; leave it unset'
                )
        guarantee = self.guarantee_population
        if not 0 < self.guarantee_delta < 1 / guarantee.num_users:
            raise ValueError(
                f'delta={self.guarantee_delta}: expected a number above 0 and below'
                f' 1/num_users = {1 / guarantee.num_users:.3g} (one user in full is a'
                ' delta of that size); leave it unset for num_users**-1.1'
            )
        resolved = self.mechanism.for_cohort(guarantee.virtual_clients_per_round)
        object.__setattr__(self, 'mechanism', resolved)
        # The deployment's rounding may leave it one round less to an epoch than the run.
        for population in (self.population, guarantee):
            self.sampling.check(population, self.mechanism, self.rounds)
        schedule = getattr(self.sampling, 'participation', None)
        if schedule is not None:
            resolved = self.mechanism.for_schedule(schedule(guarantee), self.rounds)
            object.__setattr__(self, 'mechanism', resolved)

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
        # Rounded down: fewer users only raise the epsilon.
        users = self.num_users * self.noise_cohort_size // self.virtual_clients_per_round
        return sampling_lib.Population(
            users, self.noise_cohort_size, self.users_per_virtual_client
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
        """L2 change of the clipped sum between neighbours of the headline, in units of C."""
        return self.sampling.record_change(self.population).update

    @property
    def relation(self) -> relations.Relation:
        """The neighbouring relation of the headline, `epsilon()`."""
        return self.sampling.relation()

    @property
    def private(self) -> bool:
        """Whether the run has, or if it is `hypothetical` simulates, a finite epsilon."""
        return self.mechanism.private

    @property
    def hypothetical(self) -> bool:
        """Whether the epsilon is a larger deployment's, and this run has none."""
        return self.noise_cohort_size is not None

    @property
    def noise_scale(self) -> float:
        """Factor on all noise of the mechanism in this run: 1, or m / M."""
        if self.noise_cohort_size is None:
            return 1.0
        return self.virtual_clients_per_round / self.noise_cohort_size

    @property
    def noise_stddev(self) -> float:
        """Standard deviation per coordinate of the noise on the sum, units of weights.

        For trees, of each node; with correlated noise, of each draw. With an adaptive
        clip, at its initial norm.
        """
        if not self.private:
            return 0.0
        return self.mechanism.sum_noise_multiplier * self.mechanism.clip_norm * self.noise_scale

    def mean_noise_stddevs(self, rounds: int) -> Optional[list[float]]:
        """Noise on a coordinate of each round's mean update; None where it is not known.

        Args:
            rounds: the first ones, so many.

        Returns:
            Standard deviations, units of weights: zeros without noise, None for trees and
            clips that adapt.
        """
        relative = self.mechanism.relative_noise(rounds)
        if relative is None:
            return None
        stddev = self.noise_stddev / self.virtual_clients_per_round
        return [stddev * part for part in relative]

    def analysis(self, rounds: int, unit: str = 'user') -> Optional[analysis_lib.Analysis]:
        """Returns what is accounted for the first rounds; None without noise or rounds.

        Args:
            rounds: completed rounds.
            unit: `user`, under the relation of the headline; `present_absent`, the other
                relation of a user; or `virtual_client`, the convention of the literature,
                whose noise is against C and whose unit is a virtual client, not a user.

        Raises:
            ValueError: for an unknown unit or a negative number of rounds.
        """
        validate.one_of('unit', unit, relations.UNITS)
        validate.non_negative(rounds=rounds)
        if rounds == 0 or not self.private:
            return None
        return self.sampling.analysis(self.guarantee_population, self.mechanism, rounds, unit)

    def epsilon(
        self,
        rounds: Optional[int] = None,
        unit: str = 'user',
        accountant: str = 'pld',
        repeated_releases: int = 0,
    ) -> float:
        """Returns epsilon after `rounds` rounds: 0 for none, infinite if not private.

        More rounds than planned are accounted like any others.

        Args:
            rounds: completed rounds; all planned ones by default.
            unit: as in `analysis`.
            accountant: `pld` (the tighter) or `rdp`; both are upper bounds.
            repeated_releases: rounds that were released once more with fresh noise.

        Raises:
            ValueError: for an unknown unit or accountant, or negative numbers.
        """
        validate.one_of('accountant', accountant, accounting.ACCOUNTANTS)
        validate.non_negative(repeated_releases=repeated_releases)
        rounds = self.rounds if rounds is None else rounds
        analysis = self.analysis(rounds, unit)
        if analysis is None:
            return math.inf if rounds else 0.0
        if repeated_releases:
            return repeats.epsilon(
                analysis,
                min(repeated_releases, rounds),
                repeated_releases,
                self.guarantee_delta,
                accountant,
            )
        return accounting.epsilon(analysis, self.guarantee_delta, accountant)

    def zcdp_rho(self, rounds: Optional[int] = None) -> Optional[float]:
        """Returns rho of zero-concentrated DP of a user (Bun and Steinke 2016).

        None where rounds are amplified by sampling, which has no single rho.
        """
        rounds = self.rounds if rounds is None else rounds
        analysis = self.analysis(rounds)
        if analysis is None:
            return None if rounds else 0.0
        if not isinstance(analysis, analysis_lib.Gaussian):
            return None
        return 0.5 / analysis.ratio**2

    def to_json(self) -> dict[str, Any]:
        """Returns the plan as JSON values, without secrets."""
        fields = dataclasses.asdict(self)
        fields['mechanism'] = {'name': self.mechanism.name, **_lists(fields['mechanism'])}
        fields['sampling'] = {'name': self.sampling.name, **fields['sampling']}
        if math.isinf(self.mechanism.clip_norm):
            fields['mechanism']['clip_norm'] = None
        return fields


def _lists(value: Any) -> Any:
    """Returns nested values with lists for tuples, as JSON reads them."""
    if isinstance(value, dict):
        return {name: _lists(each) for name, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _check_kind(name: str, value: Any, kind: type, classes: Mapping[str, type]) -> None:
    if not isinstance(value, kind):
        known = ', '.join(sorted(each.__name__ for each in classes.values()))
        raise ValueError(f'{name}={value!r}: expected an instance of {known}')

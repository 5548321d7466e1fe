"""Which mechanism and sampler leave the least noise in the model at a target epsilon.

Candidates are calibrated to the same epsilon and compared by the root mean square noise
of a weight over the rounds (`factorization.workload`), as the server's SGD makes it of the
noise of the rounds. What clipping, larger groups or the sampler itself do to the signal is
not in it. `crossing` says from which epsilon on correlated noise is the better one.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any, Optional

import numpy as np

from dp_fedemb import settings
from dp_fedemb.privacy import calibration
from dp_fedemb.privacy import mechanisms
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import sampling as sampling_lib
from dp_fedemb.privacy.factorization import server as server_lib
from dp_fedemb.privacy.factorization import workload as workload_lib

_COMPARED: tuple[type[mechanisms.Mechanism], ...] = (
    mechanisms.Gaussian,
    mechanisms.Tree,
    mechanisms.Banded,
    mechanisms.Bisr,
    mechanisms.Blt,
)
# Names of the mechanisms that are compared.
MECHANISMS = tuple(cls.name for cls in _COMPARED)
# A run keeps a vector as large as the model for every band, and adds them in every round.
MOST_BANDS = 64
# What is decided by the norm and by the target, not chosen.
_NUMBERS = ('clip_norm', 'noise_multiplier')


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A mechanism with a sampler.

    Attributes:
        name: of both, with the options that were tried.
        plan: calibrated to the target; None if it cannot be.
        model_noise: root mean square over the rounds of the standard deviation of a
            weight, over the server's rate times C; infinite without a plan.
        reason: why there is no plan.
    """

    name: str
    plan: Optional[plan_lib.PrivacyPlan]
    model_noise: float
    reason: str = ''


def options(plan: plan_lib.PrivacyPlan) -> dict[str, Any]:
    """Returns the settings that choose a plan's mechanism and sampler, by name.

    Not those that are None, nor clip and noise.
    """
    found: dict[str, Any] = {}
    for kind in ('mechanism', 'sampling'):
        part = getattr(plan, kind)
        found[kind] = part.name
        for name in settings.about(type(part)):
            if name not in _NUMBERS and getattr(part, name) is not None:
                found[name] = getattr(part, name)
    return found


def model_noise(plan: plan_lib.PrivacyPlan, workload: workload_lib.Workload) -> float:
    """Returns the noise in the model, of the mean update and not of the sum.

    Args:
        plan: with noise.
        workload: what the server makes of the noise of the rounds.

    Raises:
        ValueError: if the mechanism's cannot be computed.
    """
    over_clip = plan.noise_stddev / plan.mechanism.clip_norm
    deviation = plan.mechanism.model_variance(workload) ** 0.5
    return over_clip / plan.virtual_clients_per_round * deviation


def candidates(
    plan: plan_lib.PrivacyPlan,
    target_epsilon: float,
    server: server_lib.Server = server_lib.Server(),
    mechanism: Optional[str] = None,
    sampling: Optional[sampling_lib.Sampling] = None,
) -> list[Candidate]:
    """Returns the candidates for a plan's population and rounds, the best one first.

    Those that cannot be accounted, or do not reach the target, are last, with the reason.

    Args:
        plan: N, m, k, rounds, delta and clip norm; its own mechanism and sampler do not
            count.
        target_epsilon: of a user, under the headline's relation.
        server: its steps, for which noise is compared and correlated.
        mechanism: the only one to be tried; None for all.
        sampling: likewise, with its options; None for all, in whole groups.
    """
    search = _Search(plan, target_epsilon, server, mechanism)
    found = [search.cyclic_bands()] if sampling is None else []
    for sampler in _SAMPLINGS if sampling is None else (sampling,):
        found.append(search.all(sampler))
    by_name = {candidate.name: candidate for each in found for candidate in each}
    return sorted(by_name.values(), key=lambda candidate: candidate.model_noise)


def sentence(ordered: Sequence[Candidate]) -> str:
    """Says which candidate is best and why, and how far ahead of the next kind."""
    if not ordered or ordered[0].plan is None:
        return 'None of them reaches the target.'
    best, *others = ordered
    text = f'Least noise in the model: {best.name}, {_why(ordered[0].plan)}'
    for other in others:
        if other.plan is not None and _kind(other.plan) != _kind(ordered[0].plan):
            factor = other.model_noise / best.model_noise
            return f'{text}; with {other.name} it is {factor:.2f} times as much.'
    return f'{text}.'


def _why(plan: plan_lib.PrivacyPlan) -> str:
    if plan.mechanism.independent_rounds:
        text = 'whose rounds are independent'
    else:
        text = 'whose noise takes itself back'
    if isinstance(plan.sampling, sampling_lib.MinSeparation):
        return f'{text}, without amplification by sampling'
    return f'{text}, amplified by sampling'


_SAMPLINGS = (
    sampling_lib.Poisson(),
    sampling_lib.FixedSize(),
    sampling_lib.MinSeparation(),
    sampling_lib.CyclicPoisson(cycle_rounds=2),
)


def _kind(plan: plan_lib.PrivacyPlan) -> tuple[str, str]:
    return plan.mechanism.name, plan.sampling.name


class _Search:
    """Tries mechanisms with samplers for one population."""

    def __init__(
        self,
        plan: plan_lib.PrivacyPlan,
        target_epsilon: float,
        server: server_lib.Server,
        mechanism: Optional[str],
    ) -> None:
        self._plan = plan
        self._target = target_epsilon
        self._workload = server.workload(plan.rounds)
        self._only = mechanism
        # The noise is where calibration begins.
        self._numbers = (plan.mechanism.clip_norm, 1.0)
        self._banded, self._bisr, self._blt = (
            family(
                *self._numbers,
                strategy_momentum=server.momentum,
                strategy_lr_schedule=server.lr_schedule,
                strategy_averaging=server.averaging,
            )
            for family in (mechanisms.Banded, mechanisms.Bisr, mechanisms.Blt)
        )

    def all(self, sampling: sampling_lib.Sampling) -> list[Candidate]:
        """Returns every mechanism with one sampler."""
        tree, banded = mechanisms.Tree(*self._numbers), self._banded
        tried: list[mechanisms.Mechanism] = [mechanisms.Gaussian(*self._numbers), tree]
        if isinstance(sampling, sampling_lib.MinSeparation):
            schedule = sampling.participation(self._plan.guarantee_population)
            if schedule.epoch < self._plan.rounds:
                # So that no user is twice in a tree.
                tried.append(
                    dataclasses.replace(
                        tree, restart_rounds=schedule.epoch, tree_completion=True
                    )
                )
            if schedule.min_separation > MOST_BANDS:
                banded = dataclasses.replace(banded, bands=MOST_BANDS)
        tried += [banded, self._bisr, self._blt]
        tried = [each for each in tried if self._only in (None, each.name)]
        return [self._candidate(mechanism, sampling) for mechanism in tried]

    def cyclic_bands(self) -> list[Candidate]:
        """Returns cycles of powers of two, and those half-way around the best of them."""
        if self._only not in (None, self._banded.name):
            return []
        population = self._plan.population
        room = population.num_users // population.users_per_round
        most = min(room, self._plan.rounds, MOST_BANDS)
        found: dict[int, Candidate] = {}

        def add(cycle: int) -> None:
            if 2 <= cycle <= most and cycle not in found:
                sampling = sampling_lib.CyclicPoisson(cycle_rounds=cycle)
                found[cycle] = self._candidate(self._banded, sampling)

        for power in range(1, most.bit_length()):
            add(2**power)
        if found:
            best = min(found, key=lambda cycle: found[cycle].model_noise)
            add(best * 3 // 4)
            add(best * 3 // 2)
        return list(found.values())

    def _candidate(
        self, mechanism: mechanisms.Mechanism, sampling: sampling_lib.Sampling
    ) -> Candidate:
        """Returns the pair at the target, or why there is none."""
        name = _name(mechanism, sampling)
        try:
            tried = dataclasses.replace(self._plan, mechanism=mechanism, sampling=sampling)
            solved = calibration.calibrate(tried, self._target)
            return Candidate(name, solved, model_noise(solved, self._workload))
        except ValueError as error:
            return Candidate(name, None, np.inf, str(error))


def _name(mechanism: mechanisms.Mechanism, sampling: sampling_lib.Sampling) -> str:
    text = mechanism.name
    if isinstance(mechanism, mechanisms.Tree) and mechanism.restart_rounds:
        text += f' restarted every {mechanism.restart_rounds}'
    text += f', {sampling.name}'
    if isinstance(sampling, sampling_lib.CyclicPoisson):
        text += f' of {sampling.cycle_rounds}'
    return text

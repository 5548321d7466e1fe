"""Which mechanism and sampler leave the least noise in the model at a target epsilon.

Candidates are calibrated to the same epsilon and compared by the root mean square noise
of a weight over the rounds (`factorization.workload`), as the server's SGD with momentum
makes it of the noise of the rounds. What clipping, larger groups or the sampler itself do
to the signal is not in it.
"""

from collections.abc import Iterator
import dataclasses
from typing import Optional

import numpy as np

from dp_fedemb.privacy import calibration
from dp_fedemb.privacy import mechanisms
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import sampling as sampling_lib
from dp_fedemb.privacy.factorization import workload as workload_lib


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A mechanism with a sampler.

    Attributes:
        name: of both.
        plan: calibrated to the target; None if it cannot be.
        model_noise: root mean square over the rounds of the standard deviation of a
            weight, over the server's rate times C; infinite without a plan.
        reason: why there is no plan.
    """

    name: str
    plan: Optional[plan_lib.PrivacyPlan]
    model_noise: float
    reason: str = ''


def model_noise(plan: plan_lib.PrivacyPlan, momentum: float) -> float:
    """Returns the noise in the model, of the mean update and not of the sum.

    Args:
        plan: whose mechanism is independent from round to round or has a strategy.
        momentum: of the server's SGD.
    """
    noise = np.ones(1)
    if isinstance(plan.mechanism, mechanisms.Correlated):
        noise = plan.mechanism.resolved_strategy().noise(plan.rounds)
    squared, _ = workload_lib.Workload(plan.rounds, momentum).mean_squared_error(noise)
    over_clip = plan.noise_stddev / plan.mechanism.clip_norm
    return over_clip / plan.virtual_clients_per_round * squared**0.5


def candidates(
    plan: plan_lib.PrivacyPlan, target_epsilon: float, momentum: float
) -> list[Candidate]:
    """Returns the candidates for a plan's population and rounds, the best one first.

    Args:
        plan: N, m, k, rounds, delta and clip norm; its own mechanism and sampler do not
            count.
        target_epsilon: of a user, under the headline's relation.
        momentum: of the server's SGD.
    """
    found = []
    for name, mechanism, sampling in _pairs(plan, momentum):
        try:
            tried = dataclasses.replace(plan, mechanism=mechanism, sampling=sampling)
            solved = calibration.calibrate(tried, target_epsilon)
        except ValueError as error:
            found.append(Candidate(name, None, np.inf, str(error)))
        else:
            found.append(Candidate(name, solved, model_noise(solved, momentum)))
    return sorted(found, key=lambda candidate: candidate.model_noise)


def sentence(ordered: list[Candidate]) -> str:
    """Says in a sentence which candidate is best, and how far ahead of the next kind."""
    best, *others = ordered
    if best.plan is None:
        return 'None of them reaches the target.'
    text = f'Least noise in the model: {best.name}'
    for other in others:
        # Of the same kind: the same mechanism and sampler with another option.
        if other.plan is not None and other.name.split(' of ')[0] != best.name.split(' of ')[0]:
            factor = other.model_noise / best.model_noise
            return f'{text}; with {other.name} it is {factor:.2f} times as much.'
    return f'{text}.'


def _pairs(
    plan: plan_lib.PrivacyPlan, momentum: float
) -> Iterator[tuple[str, mechanisms.Mechanism, sampling_lib.Sampling]]:
    # The noise is where calibration begins.
    numbers = (plan.mechanism.clip_norm, 1.0)
    gaussian = mechanisms.Gaussian(*numbers)
    yield 'gaussian, poisson', gaussian, sampling_lib.Poisson()
    yield 'gaussian, min_separation', gaussian, sampling_lib.MinSeparation()
    banded = mechanisms.Banded(*numbers, strategy_momentum=momentum)
    for mechanism in (
        banded,
        mechanisms.Bisr(*numbers, strategy_momentum=momentum),
        mechanisms.Blt(*numbers, strategy_momentum=momentum),
    ):
        yield f'{mechanism.name}, min_separation', mechanism, sampling_lib.MinSeparation()
    most = min(plan.num_users // plan.population.users_per_round, plan.rounds)
    cycle = 2
    while cycle <= most:
        sampling = sampling_lib.CyclicPoisson(cycle_rounds=cycle)
        yield f'banded, cyclic_poisson of {cycle}', banded, sampling
        cycle *= 2

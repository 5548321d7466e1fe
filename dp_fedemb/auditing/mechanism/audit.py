"""The audit of a plan's mechanism: games for one round and for all, and every check."""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, Optional

import numpy as np

from dp_fedemb import privacy
from dp_fedemb import validate
from dp_fedemb.auditing import checks as checks_lib
from dp_fedemb.auditing import estimators
from dp_fedemb.auditing import report
from dp_fedemb.auditing.estimators import f_dp
from dp_fedemb.auditing.estimators import guessing
from dp_fedemb.auditing.estimators import many_runs
from dp_fedemb.auditing.mechanism import black_box
from dp_fedemb.auditing.mechanism import clip_checks
from dp_fedemb.auditing.mechanism import cohort_checks
from dp_fedemb.auditing.mechanism import games
from dp_fedemb.auditing.mechanism import noise_checks

# Runs of which the first noise is compared, to find a key that few bits decide.
_SEEDS = 256
# Rounds of a run that games of few rounds are played in, one after another.
_ROUNDS_OF_GAMES = 16


@dataclasses.dataclass(frozen=True)
class Bound:
    """An estimate after a number of rounds.

    Attributes:
        rounds: released.
        unit: of the claim, see `privacy.relations.UNITS`.
        estimate: with the claim beside it.
    """

    rounds: int
    unit: str
    estimate: estimators.Estimate

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {'rounds': self.rounds, 'unit': self.unit, **self.estimate.to_json()}


@dataclasses.dataclass(frozen=True)
class NoiseAudit:
    """What came out.

    Attributes:
        bounds: lower bounds of epsilon.
        checks: named checks.
    """

    bounds: Sequence[Bound]
    checks: Sequence[checks_lib.Check]

    @property
    def alarms(self) -> list[str]:
        """What correct code would hardly ever do, in words."""
        return [
            *(
                f'{bound.estimate.estimator}, {bound.rounds} rounds:'
                f' {report.finding(bound.to_json())}'
                for bound in self.bounds
                if bound.estimate.alarm
            ),
            *(check.alarm for check in self.checks if check.failed),
        ]


def audit(
    plan: privacy.PrivacyPlan,
    *,
    coordinates: int = 65_536,
    runs: int = 4,
    rounds: Optional[Sequence[int]] = None,
    confidence: float = 0.95,
    unit: str = 'user',
    seeds: Optional[Sequence[int]] = None,
    tell: Callable[[str], None] = lambda text: None,
) -> NoiseAudit:
    """Audits the mechanism of a plan, no data and no training.

    Args:
        plan: of a private mechanism.
        coordinates: of a record; a run plays so many games.
        runs: of different secret seeds, at least two.
        rounds: numbers of rounds to play; one and all planned ones by default.
        confidence: of each lower bound.
        unit: of the claim.
        seeds: of the runs; by default new ones from the operating system.
        tell: called with what is being done.

    Raises:
        ValueError: for a plan without noise, or fewer than two runs.
    """
    if runs < 2:
        raise ValueError(f'runs={runs}: expected at least 2, whose noise is compared')
    if not 0.5 <= confidence < 1:
        raise ValueError(f'confidence={confidence}: expected at least 0.5 and below 1')
    if not plan.private:
        raise ValueError(
            f'mechanism={plan.mechanism.name}: adds no noise, so there is none to audit; choose'
            ' gaussian or another private mechanism'
        )
    if seeds is None:
        seeds = [privacy.new_secret_seed() for _ in range(2 * runs)]
    layout = black_box.Layout(coordinates)
    private = [privacy.PrivateRun(plan, seed) for seed in seeds[:runs]]
    others = [privacy.PrivateRun(plan, seed + 1) for seed in seeds[:runs]]
    generator = np.random.default_rng(list(seeds))
    tell('checks of noise, clip and cohorts')
    found = [
        *noise_checks.run_checks(private, layout),
        noise_checks.seeds_differ(plan, [seeds[0] + index for index in range(_SEEDS)]),
        *clip_checks.run_checks(private[0], generator),
        *cohort_checks.run_checks(private),
        *cohort_checks.changed_user(plan),
    ]
    bounds = []
    for number in dict.fromkeys((1, plan.rounds) if rounds is None else rounds):
        validate.positive(rounds=number)
        repeats = max(_ROUNDS_OF_GAMES // number, 1) if plan.mechanism.independent_rounds else 1
        tell(f'{runs * repeats * coordinates:,} games of {number} rounds')
        precision = None
        if hasattr(plan.sampling, 'participation'):
            precision = games.estimated_precision(others[0], layout, number)
        played = [
            each
            for run in others
            for each in games.play(run, layout, number, generator, unit, precision, repeats)
        ]
        tell(f'estimates for {number} rounds')
        claim = estimators.Claim.of_plan(plan, number, unit)
        bounds += [Bound(number, unit, each) for each in _estimates(played, claim, confidence)]
    return NoiseAudit(bounds, found)


def _estimates(
    played: Sequence[games.Played], claim: estimators.Claim, confidence: float
) -> list[estimators.Estimate]:
    scores = np.concatenate([each.scores for each in played])
    bits = np.concatenate([each.bits for each in played])
    first = played[0]
    return [
        *many_runs.estimates(scores, bits, claim, confidence),
        f_dp.estimate(first.scores, first.bits, claim, confidence),
        guessing.estimate(first.scores, first.bits, claim, confidence),
    ]

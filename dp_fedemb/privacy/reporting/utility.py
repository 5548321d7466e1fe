"""Recall against the noise on the mean, fitted to a handful of runs.

Xu et al. (2023, arXiv 2211.10844, section 5) train with several noise multipliers and few
users, see at which noise-to-signal ratio recall begins to fall, and ask how many users
make that ratio private. The ratio here is z / m, the noise of a round's mean over C, for
rounds of independent noise; other mechanisms are given the ratio of independent noise that
leaves as much in the model (`equivalent_ratio`).

The curve falls from `top` without noise to `floor` with nothing but noise:

    recall(ratio) = floor + (top - floor) / (1 + (ratio / half)^slope).

Its uncertainty is that of a bootstrap: from the fitted curve new recalls are drawn at the
same ratios, with the scatter that the runs have about it, and fitted again. The scatter of
few runs is itself uncertain, so each repetition draws it too (scaled inverse chi-squared, as
it is in the t-distribution).
"""

from collections.abc import Sequence
import dataclasses
from typing import Optional

import numpy as np
from scipy import optimize

from dp_fedemb import validate
from dp_fedemb.privacy import choice
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy.factorization import server as server_lib

_PARAMETERS = 3
_LEAST_RUNS, _LEAST_RATIOS = 5, 3
# Falls slower than a logarithm and faster than a step are not told apart.
_SLOPES = (0.25, 10.0)
# Of the ratios that were run: what lies far beyond cannot be seen.
_BEYOND = 100.0


@dataclasses.dataclass(frozen=True)
class Curve:
    """A recall that falls with the noise.

    >>> curve = Curve(top=0.5, half=0.01, slope=2.0)
    >>> round(curve.recall(0.01), 3), round(curve.ratio_at(drop=0.05), 5)
    (0.25, 0.00229)

    Attributes:
        top: recall without noise.
        half: ratio at which half of the way to the floor is lost.
        slope: of the fall, on a logarithmic scale.
        floor: recall with nothing but noise.
    """

    top: float
    half: float
    slope: float
    floor: float = 0.0

    def recall(self, ratio: float) -> float:
        """Returns the recall at a noise-to-signal ratio."""
        return float(self.floor + (self.top - self.floor) * _fall(ratio, self.half, self.slope))

    def ratio_at(self, drop: float) -> float:
        """Returns the ratio that costs a fraction of the recall without noise.

        Infinite if even nothing but noise costs less.

        Args:
            drop: above 0 and below 1.
        """
        kept = (1 - drop) * self.top - self.floor
        if kept <= 0:
            return float('inf')
        lost = (self.top - self.floor) / kept - 1
        return float(self.half * lost ** (1 / self.slope))


@dataclasses.dataclass(frozen=True)
class Fit:
    """A curve with its uncertainty.

    Attributes:
        curve: of least squares.
        repetitions: curves of the bootstrap.
        scatter: standard deviation of a run about the curve.
        ratios: of the runs.
        recalls: of the runs.
    """

    curve: Curve
    repetitions: tuple[Curve, ...]
    scatter: float
    ratios: tuple[float, ...]
    recalls: tuple[float, ...]

    def ratio_at(self, drop: float, confidence: float = 0.95) -> tuple[float, float, float]:
        """Returns `Curve.ratio_at` and the ends of its interval."""
        return self._interval([each.ratio_at(drop) for each in self._all], confidence)

    def recall(self, ratio: float, confidence: float = 0.95) -> tuple[float, float, float]:
        """Returns the recall at a ratio and the ends of its interval."""
        return self._interval([each.recall(ratio) for each in self._all], confidence)

    def was_run(self, ratio: float) -> bool:
        """Whether a ratio is among those of the runs, not beyond them."""
        return ratio <= max(self.ratios)

    @property
    def _all(self) -> list[Curve]:
        return [self.curve, *self.repetitions]

    def _interval(
        self, values: Sequence[float], confidence: float
    ) -> tuple[float, float, float]:
        validate.probability(confidence=confidence)
        ordered = sorted(values[1:])
        # Order statistics, as a ratio may be infinite.
        tail = (1 - confidence) / 2 * (len(ordered) - 1)
        low, high = ordered[int(np.floor(tail))], ordered[-1 - int(np.floor(tail))]
        return values[0], low, high


def fit(
    ratios: Sequence[float],
    recalls: Sequence[float],
    floor: float = 0.0,
    repetitions: int = 200,
    seed: int = 0,
) -> Fit:
    """Fits the curve to runs.

    Args:
        ratios: noise-to-signal ratio of each run, 0 without noise.
        recalls: of each run.
        floor: recall with nothing but noise.
        repetitions: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: for fewer than 5 runs or 3 different ratios, for recalls outside [0, 1]
            or ratios below 0, or where no run is above the floor.
    """
    noise, values = np.array(ratios, float), np.array(recalls, float)
    if len(noise) != len(values) or len(noise) < _LEAST_RUNS:
        raise ValueError(
            f'{len(noise)} ratios and {len(values)} recalls: expected one each of at least'
            f' {_LEAST_RUNS} runs'
        )
    if not np.all(np.isfinite(noise) & (noise >= 0)):
        raise ValueError(f'ratios={noise.tolist()}: expected finite numbers of at least 0')
    validate.probability(**{f'recall of run {i}': v for i, v in enumerate(values.tolist())})
    if len(np.unique(noise)) < _LEAST_RATIOS:
        raise ValueError(
            f'ratios={sorted(set(noise.tolist()))}: expected at least {_LEAST_RATIOS} different'
            ' ones; a curve cannot be seen in fewer'
        )
    validate.probability(floor=floor)
    validate.positive(repetitions=repetitions)
    if values.max() <= floor:
        raise ValueError(
            f'floor={floor}: no run is above it; expected the recall of a model that saw'
            ' nothing but noise'
        )
    curve = _least_squares(noise, values, floor, None)
    predicted = np.array([curve.recall(ratio) for ratio in noise])
    freedom = len(noise) - _PARAMETERS
    sum_of_squares = float(np.sum((values - predicted) ** 2))
    generator = np.random.default_rng(seed)
    repeated = []
    for _ in range(repetitions):
        scatter = (sum_of_squares / generator.chisquare(freedom)) ** 0.5
        drawn = predicted + scatter * generator.standard_normal(len(noise))
        repeated.append(_least_squares(noise, drawn, floor, curve))
    return Fit(
        curve,
        tuple(repeated),
        (sum_of_squares / freedom) ** 0.5,
        tuple(noise.tolist()),
        tuple(values.tolist()),
    )


def equivalent_ratio(
    plan: plan_lib.PrivacyPlan, server: server_lib.Server = server_lib.Server()
) -> float:
    """Returns z / m of the independent noise that leaves as much in the model.

    For independent rounds that is their own z / m; 0 without noise.

    Args:
        plan: of the run, or of a deployment.
        server: its steps.

    Raises:
        ValueError: where the noise in the model is not known, as with adaptive clipping.
    """
    if not plan.private:
        return 0.0
    if plan.mechanism.name not in choice.MECHANISMS:
        raise ValueError(
            f'mechanism={plan.mechanism.name}: its noise follows the clip norm; expected one of'
            f' {", ".join(choice.MECHANISMS)}, or the ratio itself'
        )
    workload = server.workload(plan.rounds)
    independent, _ = workload.mean_squared_error(np.ones(1))
    return float(choice.model_noise(plan, workload) / independent**0.5)


def _fall(ratio: 'np.ndarray | float', half: float, slope: float) -> 'np.ndarray | float':
    return 1 / (1 + (np.asarray(ratio) / half) ** slope)


def _least_squares(
    noise: np.ndarray, values: np.ndarray, floor: float, start: Optional[Curve]
) -> Curve:
    """The curve of least squares; what it is linear in follows from the other two."""
    positive = noise[noise > 0]
    bounds = (
        [np.log(positive.min() / _BEYOND), np.log(_SLOPES[0])],
        [np.log(positive.max() * _BEYOND), np.log(_SLOPES[1])],
    )

    def height(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        fall = np.asarray(_fall(noise, *np.exp(parameters)))
        above = float(fall @ (values - floor) / (fall @ fall))
        return min(max(above, 0.0), 1 - floor), fall

    def residuals(parameters: np.ndarray) -> np.ndarray:
        above, fall = height(parameters)
        return floor + above * fall - values

    if start is None:
        halves = np.geomspace(positive.min(), positive.max() * 3, 5)
        starts = [np.log([half, slope]) for half in halves for slope in (1.0, 3.0)]
    else:
        starts = [np.log([start.half, start.slope])]
    found = [
        optimize.least_squares(residuals, np.clip(at, *bounds), bounds=bounds, max_nfev=100)
        for at in starts
    ]
    best = min(found, key=lambda result: result.cost).x
    half, slope = np.exp(best)
    return Curve(floor + height(best)[0], float(half), float(slope), floor)

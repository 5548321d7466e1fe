"""Distinguishing games on neighbouring sums, many at a time.

Every coordinate of the record is a game of its own: a canary user whose update has all of
its norm C there. Its secret bit decides, as the neighbouring relation says, whether its
rounds add +C or -C, or something or nothing. Who takes part is drawn as the plan claims it
(that the sampler does so is checked by itself, `cohorts`). The attacker knows everything
but bit and noise, and takes the likelihood ratio.
"""

import dataclasses
from typing import Optional

import numpy as np
from numpy import typing as npt

from dp_fedemb import privacy
from dp_fedemb.auditing.mechanism import black_box
from dp_fedemb.privacy import analysis as analysis_lib

Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Game:
    """What a bit changes in the sum of a round in which the canary is, in units of C.

    Attributes:
        one: where the bit is 1.
        zero: where it is 0.
        probability: that the canary is in a round; None where a schedule decides.
        period: rounds from one participation to the next under a schedule.
    """

    one: float
    zero: float
    probability: Optional[float]
    period: int = 1

    @classmethod
    def of_plan(cls, plan: privacy.PrivacyPlan, unit: str = 'user') -> 'Game':
        """Returns the least favourable game of a plan's neighbours."""
        change = plan.sampling.record_change(plan.population, unit).update
        if hasattr(plan.sampling, 'participation'):
            period = plan.sampling.participation(plan.population).epoch
            return (
                cls(change / 2, -change / 2, None, period)
                if change > 1
                else cls(change, 0.0, None, period)
            )
        analysis = plan.analysis(1, unit)
        assert isinstance(analysis, (analysis_lib.SampledGaussian, analysis_lib.Gaussian))
        q = plan.sampling_probability
        if isinstance(analysis, analysis_lib.SampledGaussian) and analysis.kind != (
            'add_or_remove'
        ):
            return cls(1.0, -1.0, q)
        return cls(change, 0.0, q)


@dataclasses.dataclass(frozen=True)
class Played:
    """Scores and bits of one run's games, [d] each."""

    scores: Array
    bits: npt.NDArray[np.bool_]


def play(
    run: privacy.PrivateRun,
    layout: black_box.Layout,
    rounds: int,
    generator: np.random.Generator,
    unit: str = 'user',
    precision: Optional[Array] = None,
    repeats: int = 1,
) -> list[Played]:
    """Plays one game in every coordinate, again and again.

    Args:
        run: whose mechanism is attacked.
        layout: shapes of the records.
        rounds: how many are released.
        generator: of bits and participation.
        unit: of the neighbouring relation.
        precision: [rounds, rounds] of `estimated_precision`, for games of a schedule.
        repeats: games in a coordinate one after another, of so many rounds each; more
            than one where the rounds' noise is independent.
    """
    plan = run.plan
    game = Game.of_plan(plan, unit)
    box = black_box.BlackBox(run, layout.specs)
    length = box.unit()
    weights = None if precision is None else _schedule_weights(precision, game.period)
    return [
        _play(box, length, game, layout.coordinates, rounds, generator, weights)
        for _ in range(repeats)
    ]


def _play(
    box: black_box.BlackBox,
    length: int,
    game: Game,
    coordinates: int,
    rounds: int,
    generator: np.random.Generator,
    weights: Optional[tuple[Array, Array]],
) -> Played:
    bits = generator.random(coordinates) < 0.5
    moves = np.where(bits, game.one, game.zero) * length
    scores = np.zeros(coordinates)
    stddev = black_box.first_stddev(box.plan)
    for round_num in range(rounds):
        if game.probability is None:
            assert weights is not None
            joined = np.full(coordinates, weights[0][round_num] > 0)
        else:
            joined = generator.random(coordinates) < game.probability
        total = np.rint(joined * moves).astype(np.int64)
        released, _ = box.release(total)
        if weights is None:
            scores += log_ratio(released, game, stddev)
        else:
            scores += weights[1][round_num] * released
    return Played(scores, bits)


def estimated_precision(
    run: privacy.PrivateRun, layout: black_box.Layout, rounds: int
) -> Array:
    """Returns the inverse covariance of the noise of rounds, in units of C.

    From releases of empty sums of a run of its own: an attacker who does not know the
    mechanism.
    """
    box = black_box.BlackBox(run, layout.specs)
    noise = np.array([box.release()[0] for _ in range(rounds)])
    return np.linalg.pinv(noise @ noise.T / noise.shape[1], hermitian=True)


def _schedule_weights(precision: Array, period: int) -> tuple[Array, Array]:
    """Rounds of the worst user of a schedule, and what its rounds' releases count."""
    rounds = len(precision)
    best, found = -1.0, (np.zeros(rounds), np.zeros(rounds))
    for first in range(min(period, rounds)):
        taken = np.zeros(rounds)
        taken[first::period] = 1.0
        weights = precision @ taken
        if taken @ weights > best:
            best, found = float(taken @ weights), (taken, weights)
    return found


def log_ratio(x: Array, game: Game, stddev: float) -> Array:
    """Log likelihood ratio of a round, bit 1 over bit 0, under the claim."""
    q = game.probability
    assert q is not None

    def log_mixture(move: float) -> Array:
        if move == 0:
            return np.zeros_like(x)
        exponent = (x * move - move**2 / 2) / stddev**2
        if q == 1:
            return exponent
        # log(1 - q + q e^exponent), for either size of the exponent.
        return np.logaddexp(np.log1p(-q), np.log(q) + exponent)

    return log_mixture(game.one) - log_mixture(game.zero)

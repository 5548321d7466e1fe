"""Many independent games: exact binomial bounds of the two error rates.

Half of the games choose a threshold, the other half bound how often it is passed with the
bit 1 and with the bit 0 (Clopper and Pearson 1934). Two bounds of epsilon follow: one that
assumes nothing but independent games, from one point (epsilon, delta) (Jagielski, Ullman
and Oprea 2020, arXiv 2006.07709), and one of the whole claimed trade-off curve (Nasr et
al. 2023, arXiv 2302.07956, for Gaussians).
"""

from collections.abc import Iterator
import dataclasses
import functools
import math

import numpy as np
from numpy import typing as npt
from scipy import special

from dp_fedemb.auditing.estimators import claim as claim_lib
from dp_fedemb.auditing.estimators import estimate as estimate_lib
from dp_fedemb.auditing.estimators import trade_off

NAME = 'independent games, (epsilon, delta)'
NAME_OF_CURVE = 'independent games, f-DP'


def upper_rate(count: npt.ArrayLike, of: npt.ArrayLike, significance: float) -> np.ndarray:
    """Returns the upper end of a one-sided Clopper-Pearson interval of a probability.

    >>> round(float(upper_rate(0, 100, 0.05)), 4)
    0.0295
    """
    count, of = np.asarray(count, float), np.asarray(of, float)
    with np.errstate(invalid='ignore'):
        value = special.betaincinv(count + 1, np.maximum(of - count, 1e-300), 1 - significance)
    return np.where(count >= of, 1.0, value)


def lower_rate(count: npt.ArrayLike, of: npt.ArrayLike, significance: float) -> np.ndarray:
    """Returns the lower end of a one-sided Clopper-Pearson interval of a probability."""
    return 1 - upper_rate(np.asarray(of) - np.asarray(count), of, significance)


@dataclasses.dataclass(frozen=True)
class Errors:
    """How often a threshold was passed in fresh games.

    Attributes:
        ones: games with bit 1.
        zeros: games with bit 0.
        true_positives: of `ones`, how many passed.
        false_positives: of `zeros`, how many passed.
    """

    ones: int
    zeros: int
    true_positives: int
    false_positives: int

    @property
    def mirrored(self) -> 'Errors':
        """The same test with the bits' names exchanged."""
        return Errors(
            self.zeros,
            self.ones,
            self.zeros - self.false_positives,
            self.ones - self.true_positives,
        )

    def rates(self, significance: float) -> tuple[float, float]:
        """Returns a lower bound of the true and an upper one of the false positive rate.

        Both hold together with a probability of at least 1 - significance.
        """
        half = significance / 2
        return (
            float(lower_rate(self.true_positives, self.ones, half)),
            float(upper_rate(self.false_positives, self.zeros, half)),
        )


def lower_bound(errors: Errors, delta: float, significance: float) -> float:
    """Returns log((TPR - delta) / FPR) with the ends of the intervals, 0 for none."""
    true, false = errors.rates(significance)
    return max(math.log((true - delta) / false), 0.0) if true > delta else 0.0


def refutes(curve: trade_off.TradeOff, errors: Errors, significance: float) -> bool:
    """Whether the rates are impossible under a curve, at a level."""
    true, false = errors.rates(significance)
    return not curve.allows(false, true)


def estimates(
    scores: npt.ArrayLike, bits: npt.ArrayLike, claim: claim_lib.Claim, confidence: float
) -> list[estimate_lib.Estimate]:
    """Returns both estimates from independent games.

    Args:
        scores: float [n], one game each, greater where the bit is 1.
        bits: bool [n].
        claim: of the accountant.
        confidence: of each lower bound.

    Raises:
        ValueError: for fewer than four games of either bit.
    """
    scores, bits = estimate_lib.check_scores(scores, bits)
    ones, zeros = scores[bits], scores[~bits]
    if min(len(ones), len(zeros)) < 4:
        raise ValueError(
            f'{len(ones)} games with bit 1, {len(zeros)} with bit 0: expected at least four of'
            ' each'
        )
    significance = 1 - confidence
    candidates = list(_candidates(ones[::2], zeros[::2]))
    of_point = max(
        candidates, key=lambda test: lower_bound(test.errors, claim.delta, significance)
    ).again(ones[1::2], zeros[1::2])
    of_curve = _best_for_curve(candidates, claim, significance).again(ones[1::2], zeros[1::2])
    plain = functools.partial(
        estimate_lib.Estimate,
        confidence=confidence,
        delta=claim.delta,
        claimed=claim.epsilon,
    )
    return [
        plain(
            NAME,
            _plain(of_point, claim.delta),
            lower_bound(of_point, claim.delta, significance),
            alarm=lower_bound(of_point, claim.delta, estimate_lib.ALARM) > claim.epsilon,
            facts=dataclasses.asdict(of_point),
        ),
        plain(
            NAME_OF_CURVE,
            claim.lowest_epsilon(lambda curve: refutes(curve, of_curve, 1.0)),
            claim.lowest_epsilon(lambda curve: refutes(curve, of_curve, significance)),
            alarm=claim.private and refutes(claim.curve, of_curve, estimate_lib.ALARM),
            facts=dataclasses.asdict(of_curve),
        ),
    ]


@dataclasses.dataclass(frozen=True)
class _Test:
    """A threshold, whether the bits change names, and the errors on the first half."""

    threshold: float
    mirrored: bool
    errors: Errors

    def again(self, ones: np.ndarray, zeros: np.ndarray) -> Errors:
        """Returns the errors on other games."""
        errors = _errors(ones, zeros, self.threshold)
        return errors.mirrored if self.mirrored else errors


def _errors(ones: np.ndarray, zeros: np.ndarray, threshold: float) -> Errors:
    passed = [int(np.sum(part >= threshold)) for part in (ones, zeros)]
    return Errors(len(ones), len(zeros), *passed)


def _candidates(ones: np.ndarray, zeros: np.ndarray) -> Iterator[_Test]:
    """Thresholds to try, dense in both tails."""
    tail = np.geomspace(1 / max(len(ones), 2), 0.5, 60)
    places = np.unique(np.concatenate([tail, 1 - tail]))
    for threshold in np.unique(np.quantile(np.concatenate([ones, zeros]), places)).tolist():
        errors = _errors(ones, zeros, threshold)
        yield _Test(threshold, False, errors)
        yield _Test(threshold, True, errors.mirrored)


def _best_for_curve(
    candidates: list[_Test], claim: claim_lib.Claim, significance: float
) -> _Test:
    """The test that refutes members of the family with the least noise."""
    rates = [test.errors.rates(significance) for test in candidates]
    step = claim.least_noise(
        lambda curve: any(not curve.allows(false, true) for true, false in rates)
    )
    if step is not None:
        curve = claim.with_noise(step).curve
        for test, (true, false) in zip(candidates, rates):
            if not curve.allows(false, true):
                return test
    # Nothing to see: the test with most to gain.
    return max(candidates, key=lambda test: test.errors.true_positives / test.errors.ones)


def _plain(errors: Errors, delta: float) -> float:
    true = errors.true_positives / errors.ones - delta
    false = errors.false_positives / errors.zeros
    if true <= 0:
        return 0.0
    return max(math.log(true / false), 0.0) if false else math.inf

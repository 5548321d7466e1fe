"""One-run audit by guessing: Steinke, Nasr and Jagielski (2023, arXiv 2305.08846).

Of m canaries each is put in by a fair coin, all in one run. On an (epsilon, delta)-DP
run whoever guesses r of the coins gets v right with a probability of at most (their
Theorem 5.2)

    f(v) + 2 m delta max over i in 1..m of (f(v - i) - f(v)) / i,

with f(v) = P(Binomial(r, e^epsilon / (1 + e^epsilon)) >= v). It assumes nothing of the
mechanism, and not that canaries are independent of one another; the price is that it
is loose for Gaussian noise.
"""

import math

import numpy as np
from numpy import typing as npt
from scipy import special
from scipy import stats

from dp_fedemb.auditing.estimators import claim as claim_lib
from dp_fedemb.auditing.estimators import estimate as estimate_lib

NAME = 'one run, guessing'


def p_value(guesses: estimate_lib.Guesses, epsilon: float, delta: float) -> float:
    """Returns a bound of the chance of so many correct guesses under (epsilon, delta)-DP."""
    m, r, v = guesses.canaries, guesses.made, guesses.correct
    accuracy = special.expit(epsilon)
    tail = float(stats.binom.sf(v - 1, r, accuracy))
    if delta == 0 or v == 0:
        return min(tail, 1.0)
    steps = np.arange(1, v + 1)
    gained = stats.binom.sf(v - 1 - steps, r, accuracy) - tail
    return min(tail + 2 * m * delta * float(np.max(gained / steps)), 1.0)


def lower_bound(guesses: estimate_lib.Guesses, delta: float, significance: float) -> float:
    """Returns the greatest epsilon that is refuted at a level, 0 for none.

    Args:
        guesses: of one run.
        delta: of the guarantee.
        significance: one minus the confidence.
    """
    if p_value(guesses, 0.0, delta) > significance:
        return 0.0
    low, high = 0.0, 1.0
    while p_value(guesses, high, delta) <= significance:
        low, high = high, 2 * high
    while high - low > 1e-6:
        middle = (low + high) / 2
        if p_value(guesses, middle, delta) <= significance:
            low = middle
        else:
            high = middle
    return low


def estimate(
    scores: npt.ArrayLike, bits: npt.ArrayLike, claim: claim_lib.Claim, confidence: float
) -> estimate_lib.Estimate:
    """Returns the estimate of one run.

    The point estimate is the epsilon of randomized response with the accuracy that was
    seen, of the guesses that gave the bound.

    Args:
        scores: float [m], greater where the bit is 1.
        bits: bool [m], fair and independent coins.
        claim: of the accountant; only its epsilon and delta count.
        confidence: of the lower bound.
    """
    tried = list(estimate_lib.guesses(scores, bits))
    share = (1 - confidence) / len(tried)
    bounds = [lower_bound(each, claim.delta, share) for each in tried]
    best = max(range(len(tried)), key=lambda i: (bounds[i], tried[i].made))
    chosen = tried[best]
    wrong = chosen.made - chosen.correct
    point = math.log(chosen.correct / wrong) if wrong and chosen.correct else math.inf
    claimed = claim.epsilon
    level = estimate_lib.ALARM / len(tried)
    return estimate_lib.Estimate(
        NAME,
        max(point, 0.0) if chosen.correct else 0.0,
        bounds[best],
        confidence,
        claim.delta,
        claimed,
        math.isfinite(claimed)
        and any(p_value(each, claimed, claim.delta) <= level for each in tried),
        {'canaries': chosen.canaries, 'guesses': chosen.made, 'correct': chosen.correct},
    )

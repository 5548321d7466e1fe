"""One-run audit of a whole trade-off curve: Mahloujifar, Melis and Chaudhuri (2024,
arXiv 2410.22235).

As `guessing`, but what is tested is all that the accountant claims, f, instead of one
point (epsilon, delta) of it; for Gaussian noise that is much tighter. With p_i the
probability of i correct of c guesses of m canaries, for every v

    sum over i >= v of i p_i / m  <=  1 - f(sum over i >= v of (c - i + 1) p_(i - 1) / m)

(their Theorem 9 for k = 2: a canary's bit that is guessed right in one world is guessed
wrong in its neighbour). If c guesses have at least v right with probability s, then going
down from v each tail needs ever more mass; where that is more than there is, v correct
guesses were less likely than s (their Algorithm 3).
"""

import functools

from numpy import typing as npt

from dp_fedemb.auditing.estimators import claim as claim_lib
from dp_fedemb.auditing.estimators import estimate as estimate_lib
from dp_fedemb.auditing.estimators import trade_off

NAME = 'one run, f-DP'


def refutes(
    curve: trade_off.TradeOff, guesses: estimate_lib.Guesses, significance: float
) -> bool:
    """Whether so many correct guesses are less likely than `significance` under a curve."""
    m, c, v = guesses.canaries, guesses.made, guesses.correct
    right = significance * v / m
    wrong = significance * (c - v) / m
    for i in range(v - 1, -1, -1):
        needed = curve.inverse(right)
        if needed <= wrong:
            break  # Nothing moves any more.
        right = min(right + i / (c - i) * (needed - wrong), 1.0)
        wrong = needed
        if right + wrong > c / m:
            return True
    return right + wrong > c / m


def estimate(
    scores: npt.ArrayLike, bits: npt.ArrayLike, claim: claim_lib.Claim, confidence: float
) -> estimate_lib.Estimate:
    """Returns the estimate of one run, in the claim's family of noises.

    The point estimate is the same bound at a level of one half, of the guesses that gave
    the lower bound; without any, of all guesses.

    Args:
        scores: float [m], greater where the bit is 1.
        bits: bool [m], fair and independent coins.
        claim: of the accountant.
        confidence: of the lower bound.
    """
    tried = list(estimate_lib.guesses(scores, bits))
    share = (1 - confidence) / len(tried)
    bounds = [
        claim.lowest_epsilon(functools.partial(refutes, guesses=each, significance=share))
        for each in tried
    ]
    best = max(range(len(tried)), key=lambda i: (bounds[i], tried[i].made))
    chosen = tried[best]
    point = claim.lowest_epsilon(lambda curve: refutes(curve, chosen, 0.5))
    level = estimate_lib.ALARM / len(tried)
    return estimate_lib.Estimate(
        NAME,
        point,
        bounds[best],
        confidence,
        claim.delta,
        claim.epsilon,
        claim.private and any(refutes(claim.curve, each, level) for each in tried),
        {'canaries': chosen.canaries, 'guesses': chosen.made, 'correct': chosen.correct},
    )

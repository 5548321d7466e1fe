"""What it costs that a round was released again, with fresh noise.

After an interruption a round is computed again. Where the sum comes out the same the
noise does, too, and nothing new is released. Where it does not (another kind of
processor), it gets fresh noise, and its first release may have been seen.

A repeat has the cohort of the round that it repeats. So the releases of a round, given
whether a user's group took part, are one Gaussian in more dimensions: 1 + j of them move
together by sqrt(1 + j) times as much. The repeats, r in all, may be spread over up to r
rounds or be all of one; r rounds of 1 + r releases each cover every case.
"""

import dataclasses
import math

from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import analysis as analysis_lib

# Parts of delta that the repeated rounds get; the best one counts.
_SHARES = (0.5, 0.2, 0.05, 0.01, 1e-3)


def epsilon(
    analysis: analysis_lib.Analysis, rounds: int, repeats: int, delta: float, accountant: str
) -> float:
    """Returns an upper bound of epsilon with repeated releases.

    Args:
        analysis: of the rounds, each released once.
        rounds: at most so many were repeated.
        repeats: additional releases, at least 1.
        delta: of all together.
        accountant: see `accounting.epsilon`.
    """
    if isinstance(analysis, analysis_lib.Gaussian):
        # Every release of the run 1 + repeats times, which is more than there were: one
        # Gaussian. (With correlated noise a repeat is a whole new draw at most.)
        often = dataclasses.replace(analysis, ratio=analysis.ratio / math.sqrt(1 + repeats))
        return accounting.epsilon(often, delta, accountant)
    # In a cycle a user has fewer chances than there are rounds.
    rounds = min(rounds, analysis.rounds)
    once = dataclasses.replace(analysis, rounds=analysis.rounds - rounds)
    again = dataclasses.replace(
        analysis, rounds=rounds, ratio=analysis.ratio / math.sqrt(1 + repeats)
    )
    return min(
        accounting.epsilon(once, (1 - share) * delta, accountant)
        + accounting.epsilon(again, share * delta, accountant)
        for share in _SHARES
    )

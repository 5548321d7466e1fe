"""From which epsilon on correlated noise leaves less of itself in the model.

At a noise in the model that is the same for all, a candidate costs the epsilon that its
noise multiplier for it costs. Much noise (small epsilon) favours rounds that are amplified
by sampling, little noise (large epsilon) those whose noise takes itself back; where the
least epsilons of both are equal, they cross.
"""

from collections.abc import Sequence
import dataclasses
import math
from typing import NamedTuple, Optional

from scipy import optimize

from dp_fedemb.privacy import choice

# Epsilons between which a crossing is looked for.
LEAST, MOST = 0.01, 1000.0


class Crossing(NamedTuple):
    """Where independent and correlated noise are worth the same.

    Attributes:
        epsilon: of the crossing; None if there is none between 0.01 and 1,000.
        independent: best candidate of independent rounds there (at the target without a
            crossing), by name.
        correlated: likewise of correlated ones.
        correlated_is_better: at the target of the candidates.
    """

    epsilon: Optional[float]
    independent: str
    correlated: str
    correlated_is_better: bool


class Search:
    """Finds crossings among candidates; epsilons that were computed are kept."""

    def __init__(self, candidates: Sequence[choice.Candidate]) -> None:
        """Begins with the candidates of `choice.candidates`."""
        self._plans = {
            each.name: (each.plan, each.model_noise)
            for each in candidates
            if each.plan is not None
        }
        self._epsilons: dict[tuple[str, float], float] = {}

    def find(self, amplified_bands: bool = True) -> Optional[Crossing]:
        """Returns the crossing nearest to the target of the candidates.

        Args:
            amplified_bands: whether correlated noise that is amplified by sampling counts.

        Returns:
            None if there are no candidates of one of the two kinds.
        """
        independent, correlated = [], []
        for name, (plan, _) in self._plans.items():
            if plan.mechanism.independent_rounds:
                independent.append(name)
            elif amplified_bands or plan.sampling.name == 'min_separation':
                correlated.append(name)
        if not independent or not correlated:
            return None

        def lead(log_noise: float) -> float:
            """Log of what independent noise costs over what correlated noise does."""
            costs = (self._best(side, log_noise)[0] for side in (independent, correlated))
            first, second = (max(cost, 1e-12) for cost in costs)
            return math.log(first / second)

        start = here = math.log(min(noise for _, noise in self._plans.values()))
        better = lead(start) > 0
        # Towards a smaller epsilon, so more noise, where correlated noise is better.
        step = math.log(2.0) if better else -math.log(2.0)
        while (lead(here) > 0) == better:
            if not LEAST < self._best(independent + correlated, here)[0] < MOST:
                names = [self._best(side, start)[1] for side in (independent, correlated)]
                return Crossing(None, names[0], names[1], better)
            here += step
        crossed = optimize.brentq(lead, *sorted((here - step, here)), xtol=1e-4)
        epsilon, name = self._best(independent, crossed)
        return Crossing(epsilon, name, self._best(correlated, crossed)[1], better)

    def _best(self, names: Sequence[str], log_noise: float) -> tuple[float, str]:
        """Least epsilon at a noise in the model, and whose it is."""
        return min((self._epsilon(name, log_noise), name) for name in names)

    def _epsilon(self, name: str, log_noise: float) -> float:
        key = name, log_noise
        if key not in self._epsilons:
            plan, model_noise = self._plans[name]
            mechanism = plan.mechanism.scaled(math.exp(log_noise) / model_noise)
            self._epsilons[key] = dataclasses.replace(plan, mechanism=mechanism).epsilon()
        return self._epsilons[key]

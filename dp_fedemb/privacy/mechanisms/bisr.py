"""Correlated noise whose strategy has a banded inverse."""

import dataclasses
import functools

from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.factorization import banded_inverse
from dp_fedemb.privacy.factorization import strategy
from dp_fedemb.privacy.factorization import workload as workload_lib
from dp_fedemb.privacy.mechanisms import correlated
from dp_fedemb.settings import setting


@dataclasses.dataclass(frozen=True)
class Bisr(correlated.Correlated):
    """Kalinin et al. (2025, arXiv 2505.12128): a round's noise is made of the last p draws.

    Attributes:
        draws: p.
        optimised: whether the weights of the draws are those of least error; otherwise
            the closed form, the first p coefficients of the inverse square root of the
            workload.
    """

    name = 'bisr'

    draws: int = setting(
        8, "mechanism=bisr: draws of which a round's noise is made.", within='[1, 20000]'
    )
    optimised: bool = setting(
        True, 'mechanism=bisr: weights of least error instead of the closed form.'
    )

    def _optimal(
        self,
        workload: workload_lib.Workload,
        participation: participation_lib.ParticipationSchedule,
    ) -> strategy.Strategy:
        return _optimal(workload, participation, self.draws, self.optimised)


@functools.lru_cache(maxsize=256)
def _optimal(
    workload: workload_lib.Workload,
    participation: participation_lib.ParticipationSchedule,
    draws: int,
    optimised: bool,
) -> strategy.Strategy:
    if optimised:
        return banded_inverse.optimal(workload, participation, draws)
    return banded_inverse.square_root(workload, draws)

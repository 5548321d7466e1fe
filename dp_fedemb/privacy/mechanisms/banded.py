"""Correlated noise with a banded strategy."""

import dataclasses
import functools
import math
from typing import Optional

from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy import sensitivity
from dp_fedemb.privacy.factorization import banded
from dp_fedemb.privacy.factorization import strategy
from dp_fedemb.privacy.factorization import workload as workload_lib
from dp_fedemb.privacy.mechanisms import correlated
from dp_fedemb.settings import setting


@dataclasses.dataclass(frozen=True)
class Banded(correlated.Correlated):
    """Choquette-Choo et al. (2023, arXiv 2306.08153): C has few bands.

    A round's noise is its draw minus the noise of the last bands - 1 rounds, weighted by
    C's coefficients, of which a run keeps as many model-sized vectors in memory. With at
    most as many bands as the minimum separation, a user's participations meet nowhere,
    and the sensitivity is sqrt(k) ||c|| exactly.

    Attributes:
        bands: of C, at most the schedule's minimum separation, which is the default.
    """

    name = 'banded'

    bands: Optional[int] = setting(
        None,
        'mechanism=banded: rounds whose noise a round takes into account, itself included;'
        ' by default, and at most, the minimum separation.',
        within='[1, 20000]',
    )

    @property
    def spread(self) -> float:
        # By default as much as the schedule has room for.
        return self.bands or 1

    def noise_over_sensitivity(self, change: sensitivity.RecordChange) -> float:
        norm = math.hypot(*self.resolved_strategy().numerator)
        return self.noise_multiplier / (norm * change.update)

    def _optimal(
        self,
        workload: workload_lib.Workload,
        participation: participation_lib.ParticipationSchedule,
    ) -> strategy.Strategy:
        return _optimal(workload, participation, self.bands or participation.min_separation)


@functools.lru_cache(maxsize=256)
def _optimal(
    workload: workload_lib.Workload,
    participation: participation_lib.ParticipationSchedule,
    bands: int,
) -> strategy.Strategy:
    return banded.optimal(workload, participation, bands)

"""Correlated noise from a few running sums."""

import dataclasses
import functools

from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.factorization import blt
from dp_fedemb.privacy.factorization import strategy
from dp_fedemb.privacy.factorization import workload as workload_lib
from dp_fedemb.privacy.mechanisms import correlated
from dp_fedemb.settings import setting


@dataclasses.dataclass(frozen=True)
class Blt(correlated.Correlated):
    """Buffered linear Toeplitz noise (arXiv 2404.16706 and, for several rounds, 2408.08868).

    Attributes:
        buffers: at most so many running sums, the memory of the noise.
    """

    name = 'blt'

    buffers: int = setting(
        2,
        'mechanism=blt: buffers, each as large as the model; 2 are nearly the best.',
        within='[1, 100]',
    )

    def _optimal(
        self,
        workload: workload_lib.Workload,
        participation: participation_lib.ParticipationSchedule,
    ) -> strategy.Strategy:
        return _optimal(workload, participation, self.buffers)


@functools.lru_cache(maxsize=256)
def _optimal(
    workload: workload_lib.Workload,
    participation: participation_lib.ParticipationSchedule,
    buffers: int,
) -> strategy.Strategy:
    return blt.optimal(workload, participation, buffers)

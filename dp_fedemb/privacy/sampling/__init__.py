"""Who takes part in a round and in which virtual client, one file per sampling."""

from dp_fedemb.privacy.sampling import base
from dp_fedemb.privacy.sampling import cyclic_poisson
from dp_fedemb.privacy.sampling import fixed_size
from dp_fedemb.privacy.sampling import min_separation
from dp_fedemb.privacy.sampling import poisson

Cohort = base.Cohort
Observed = base.Observed
Participation = base.Participation
Population = base.Population
Sampling = base.Sampling
CyclicPoisson = cyclic_poisson.CyclicPoisson
FixedSize = fixed_size.FixedSize
MinSeparation = min_separation.MinSeparation
Poisson = poisson.Poisson

_ALL: tuple[type[Sampling], ...] = (Poisson, CyclicPoisson, FixedSize, MinSeparation)
# Name (as in --sampling) -> class.
SAMPLINGS = {cls.name: cls for cls in _ALL}

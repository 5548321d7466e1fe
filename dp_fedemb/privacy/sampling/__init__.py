"""Who takes part in a round, one file per sampler."""

from dp_fedemb.privacy.sampling import base
from dp_fedemb.privacy.sampling import poisson

Cohort = base.Cohort
Population = base.Population
Sampling = base.Sampling
Poisson = poisson.Poisson

# Name (as in --sampling) -> class.
SAMPLERS = {cls.name: cls for cls in (Poisson,)}

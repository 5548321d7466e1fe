"""Privacy plan, samplers, mechanisms' costs, accounting and statement.

Imports neither TensorFlow nor TFF, so that it can be audited, and used from the
command line, by itself. `dp_fedemb.privacy.plan` states the conventions.
"""

from dp_fedemb.privacy.calibration import calibrate
from dp_fedemb.privacy.mechanisms import AdaptiveGaussian
from dp_fedemb.privacy.mechanisms import Banded
from dp_fedemb.privacy.mechanisms import Bisr
from dp_fedemb.privacy.mechanisms import Blt
from dp_fedemb.privacy.mechanisms import ClipOnly
from dp_fedemb.privacy.mechanisms import Correlated
from dp_fedemb.privacy.mechanisms import Gaussian
from dp_fedemb.privacy.mechanisms import Mechanism
from dp_fedemb.privacy.mechanisms import MECHANISMS
from dp_fedemb.privacy.mechanisms import NoPrivacy
from dp_fedemb.privacy.mechanisms import Tree
from dp_fedemb.privacy.mechanisms import TreeAdaptive
from dp_fedemb.privacy.plan import PrivacyPlan
from dp_fedemb.privacy.private_run import PrivateRun
from dp_fedemb.privacy.reporting.ancestors import Ancestor
from dp_fedemb.privacy.reporting.ancestors import of_start as ancestors_of_start
from dp_fedemb.privacy.reporting.statement import statement
from dp_fedemb.privacy.reporting.statement_text import headline as statement_headline
from dp_fedemb.privacy.reporting.statement_text import text as statement_text
from dp_fedemb.privacy.rounding import rounded_up
from dp_fedemb.privacy.rounding import text as rounded_up_text
from dp_fedemb.privacy.sampling import Cohort
from dp_fedemb.privacy.sampling import CyclicPoisson
from dp_fedemb.privacy.sampling import FixedSize
from dp_fedemb.privacy.sampling import MinSeparation
from dp_fedemb.privacy.sampling import Observed
from dp_fedemb.privacy.sampling import Poisson
from dp_fedemb.privacy.sampling import Population
from dp_fedemb.privacy.sampling import Sampling
from dp_fedemb.privacy.sampling import SAMPLINGS
from dp_fedemb.privacy.selection import Selection
from dp_fedemb.randomness import generator
from dp_fedemb.randomness import new_secret_seed
from dp_fedemb.randomness import tf_seed

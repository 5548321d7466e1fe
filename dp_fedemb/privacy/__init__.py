"""Privacy plan, samplers, mechanisms' costs, accounting and statement.

Imports neither TensorFlow nor TFF, so that it can be audited, and used from the
command line, by itself. `dp_fedemb.privacy.plan` states the conventions.
"""

from dp_fedemb.privacy import statement
from dp_fedemb.privacy.mechanisms import ClipOnly
from dp_fedemb.privacy.mechanisms import Gaussian
from dp_fedemb.privacy.mechanisms import Mechanism
from dp_fedemb.privacy.mechanisms import MECHANISMS
from dp_fedemb.privacy.mechanisms import NoPrivacy
from dp_fedemb.privacy.plan import PrivacyPlan
from dp_fedemb.privacy.randomness import generator
from dp_fedemb.privacy.randomness import new_secret_seed
from dp_fedemb.privacy.randomness import tf_seed
from dp_fedemb.privacy.sampling import Cohort
from dp_fedemb.privacy.sampling import Poisson
from dp_fedemb.privacy.sampling import Population
from dp_fedemb.privacy.sampling import SAMPLERS
from dp_fedemb.privacy.sampling import Sampling

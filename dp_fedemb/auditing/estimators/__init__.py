"""From the outcomes of guessing games to lower bounds of epsilon, one file per family."""

from dp_fedemb.auditing.estimators.claim import Claim
from dp_fedemb.auditing.estimators.estimate import ALARM
from dp_fedemb.auditing.estimators.estimate import Estimate

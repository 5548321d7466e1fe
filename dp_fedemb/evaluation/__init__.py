"""Figures of embeddings on identities that training never saw."""

from dp_fedemb.evaluation.verification import OperatingPoint
from dp_fedemb.evaluation.verification import recall_at_far
from dp_fedemb.evaluation.verification import Verification
from dp_fedemb.evaluation.verification import verify

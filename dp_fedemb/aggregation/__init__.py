"""Aggregation: each mechanism as a computation, and partial aggregation.

What a mechanism costs is stated in `dp_fedemb.privacy.mechanisms`; here one file of
the same name holds what it computes.
"""

from dp_fedemb import environment

environment.check()

from dp_fedemb.aggregation.build import build_aggregation_factory
from dp_fedemb.aggregation.build import build_query
from dp_fedemb.aggregation.build import SUM_QUERIES
from dp_fedemb.aggregation.no_metrics import drop_metrics
from dp_fedemb.aggregation.partial import PartialAggregationFactory

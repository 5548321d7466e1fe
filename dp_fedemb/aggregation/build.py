"""From a privacy plan to the computation that it describes."""

import tensorflow_federated as tff
import tensorflow_privacy as tfp

from dp_fedemb import privacy
from dp_fedemb import randomness
from dp_fedemb import validate
from dp_fedemb.aggregation import adaptive_gaussian
from dp_fedemb.aggregation import gaussian
from dp_fedemb.aggregation import tree
from dp_fedemb.aggregation import tree_adaptive

# Name of the mechanism (as in `privacy.MECHANISMS`) -> builder(plan, noise key) of the
# query whose result is the noised SUM of a round.
SUM_QUERIES = {
    'none': gaussian.build,
    'clip_only': gaussian.build,
    'gaussian': gaussian.build,
    'adaptive_gaussian': adaptive_gaussian.build,
    'tree': tree.build,
    'tree_adaptive': tree_adaptive.build,
}


def build_query(plan: privacy.PrivacyPlan, seed: int) -> tfp.SumAggregationDPQuery:
    """Returns the plan's mechanism, a query whose result is the MEAN update.

    The noised sum is divided by the plan's m, a public constant, never by the number
    of records that took part.

    Args:
        plan: clip, noise and cohort; with a hypothetical cohort all noise is scaled
            by `plan.noise_scale`.
        seed: secret seed of the run, an integer of at least 0. A round's noise is a
            function of it and of the round, so a round that is repeated after a crash
            repeats the same release.

    Raises:
        ValueError: for a mechanism that has no computation here, or a negative seed.
    """
    validate.one_of('mechanism', plan.mechanism.name, SUM_QUERIES)
    noise_key = randomness.tf_seed(seed, 'noise')
    sum_query = SUM_QUERIES[plan.mechanism.name](plan, noise_key)
    return tfp.NormalizedQuery(sum_query, float(plan.virtual_clients_per_round))


def build_aggregation_factory(
    plan: privacy.PrivacyPlan, seed: int
) -> tff.aggregators.UnweightedAggregationFactory:
    """Returns the plan's mechanism for any `model_aggregator` of `tff.learning`.

    One TFF client is then one record: one virtual client. Its result is the mean over
    the plan's m, as that of `build_query`.

    Args:
        plan: as in `build_query`.
        seed: as in `build_query`.
    """
    return tff.aggregators.DifferentiallyPrivateFactory(build_query(plan, seed))

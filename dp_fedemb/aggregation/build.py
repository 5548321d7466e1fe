"""From a private run to the computation of its mechanism."""

from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import privacy
from dp_fedemb import validate
from dp_fedemb.aggregation import adaptive_gaussian
from dp_fedemb.aggregation import correlated
from dp_fedemb.aggregation import gaussian
from dp_fedemb.aggregation import noise as noise_lib
from dp_fedemb.aggregation import sum_query
from dp_fedemb.aggregation import tree
from dp_fedemb.aggregation import tree_adaptive

# Name of the mechanism (as in `privacy.MECHANISMS`) -> builder(run, record specs, noise
# source) of the query whose result is the noised SUM of a round.
SUM_QUERIES = {
    'none': gaussian.build,
    'clip_only': gaussian.build,
    'gaussian': gaussian.build,
    'adaptive_gaussian': adaptive_gaussian.build,
    'tree': tree.build,
    'tree_adaptive': tree_adaptive.build,
    'banded': correlated.build,
    'bisr': correlated.build,
    'blt': correlated.build,
}


def build_query(
    run: privacy.PrivateRun, record_specs: sum_query.RecordSpecs, in_graph: bool = False
) -> sum_query.MeanQuery:
    """Returns the run's mechanism, a query whose result is the MEAN update.

    The noised sum is divided by the plan's m, a public constant, never by the number
    of records that took part.

    Args:
        run: clip, noise and cohort; with a hypothetical cohort all noise is scaled
            by `plan.noise_scale`. A round's noise is a function of the run and the
            round, so a round that is repeated after a crash repeats the same release.
        record_specs: of the tensors of one record, for instance
            `EmbeddingModel.record_specs()`.
        in_graph: whether the noise can be drawn in a graph that runs elsewhere, as in
            `learning.build_dp_fedemb`; the engines draw it exactly, on the driver.

    Raises:
        ValueError: for a mechanism that has no computation here.
    """
    validate.one_of('mechanism', run.plan.mechanism.name, SUM_QUERIES)
    noise: noise_lib.NoiseSource = noise_lib.DriverNoise(run)
    if in_graph:
        noise = noise_lib.GraphNoise(run.tf_noise_key().tolist())
    sum_of_round = SUM_QUERIES[run.plan.mechanism.name](run, record_specs, noise)
    return sum_query.MeanQuery(sum_of_round, float(run.plan.virtual_clients_per_round))


def build_aggregation_factory(
    run: privacy.PrivateRun,
) -> tff.aggregators.UnweightedAggregationFactory:
    """Returns the run's mechanism for any `model_aggregator` of `tff.learning`.

    One TFF client is then one record: one virtual client. Its result is the mean over
    the plan's m, as that of `build_query`.
    """
    return _MechanismFactory(run)


class _MechanismFactory(tff.aggregators.UnweightedAggregationFactory):
    """Learns from the type of the update what the mechanism sums."""

    def __init__(self, run: privacy.PrivateRun):
        self._run = run

    def create(self, value_type: Any) -> tff.templates.AggregationProcess:
        specs = tf.nest.flatten(tff.types.type_to_tf_tensor_specs(value_type))
        query = build_query(self._run, specs, in_graph=True)
        return tff.aggregators.DifferentiallyPrivateFactory(query).create(value_type)

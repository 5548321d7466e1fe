"""The graph of a shard, on which the speed of small rounds depends."""

import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb.learning import client_config
from dp_fedemb.learning import shard_work


def test_no_client_work_inside_a_function_of_a_data_set(
    small_model, small_weights, make_plan, make_clients, describe, read
):
    # Such functions are optimized and set up anew whenever a data set is iterated.
    query = aggregation.build_query(make_plan('gaussian'), 1)
    params = query.derive_sample_params(query.initial_global_state())
    work = shard_work.ShardWork(small_model, client_config.ClientConfig(), query)
    weights = tff.learning.models.ModelWeights([tf.constant(w) for w in small_weights], [])
    shard = {k: tf.constant(v) for k, v in describe(make_clients([5, 3])).items()}
    function = work.run.get_concrete_function(weights, params, tf.constant(0.1), read(shard))
    kinds = {node.op for node in function.graph.as_graph_def().node}
    kinds |= {
        node.op
        for function_def in function.graph.as_graph_def().library.function
        for node in function_def.node_def
    }
    assert 'ResourceApplyGradientDescent' in kinds and kinds & {'While', 'StatelessWhile'}
    assert not {kind for kind in kinds if kind.endswith('Dataset') or 'DatasetV' in kind}, kinds

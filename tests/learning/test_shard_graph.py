"""The graph of a shard, on which the speed of small rounds depends."""

import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.learning import client_config
from dp_fedemb.learning import shard_work


@pytest.fixture(scope='module')
def operations(small_model, small_weights, make_plan, make_clients, describe):
    """Function from a reader to the kinds of operations in a shard's graph."""

    def kinds(reader):
        query = aggregation.build_query(
            privacy.PrivateRun(make_plan('gaussian'), 1), small_model.record_specs()
        )
        params = query.derive_sample_params(query.initial_global_state())
        work = shard_work.ShardWork(small_model, client_config.ClientConfig(), query)
        weights = tff.learning.models.ModelWeights([tf.constant(w) for w in small_weights], [])
        shard = {k: tf.constant(v) for k, v in describe(make_clients([5, 3])).items()}
        graph = work.run.get_concrete_function(
            weights, params, tf.constant(0.1), reader(shard)
        ).graph.as_graph_def()
        functions = [node for function in graph.library.function for node in function.node_def]
        return {node.op for node in [*graph.node, *functions]}

    return kinds


def test_no_client_work_inside_a_function_of_a_data_set(operations, read_sequence):
    # Such functions are optimized and set up anew whenever a data set is iterated.
    found = operations(read_sequence)
    assert 'ResourceApplyGradientDescent' in found and found & {'While', 'StatelessWhile'}
    assert not {kind for kind in found if kind.endswith('Dataset') or 'DatasetV' in kind}, found


def test_shards_with_rows_need_no_data_set(operations, read):
    found = operations(read)
    assert 'ResourceApplyGradientDescent' in found and found & {'While', 'StatelessWhile'}
    assert not {kind for kind in found if 'Dataset' in kind or 'Iterator' in kind}, found

"""Partial aggregation: what is not selected is neither touched nor seen."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation

VALUE_TYPE = tff.to_type([(np.float32, [3]), (np.float32, [2, 2]), (np.float32, [1])])
SUM = tff.aggregators.SumFactory()


def build_model():
    """Four inputs, a backbone layer of 3 units and a classifier of 2."""
    keras_model = tf.keras.Sequential(
        [
            tf.keras.layers.Dense(3, input_shape=(4,), kernel_initializer='ones'),
            tf.keras.layers.Dense(2, kernel_initializer='ones'),
        ]
    )
    spec = collections.OrderedDict(
        x=tf.TensorSpec([None, 4], tf.float32), y=tf.TensorSpec([None], tf.int32)
    )
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return tff.learning.models.from_keras_model(keras_model, loss, spec)


def test_stock_fed_avg_noises_the_selected_weights_only(tff_runtime, make_plan):
    factory = aggregation.PartialAggregationFactory(
        aggregation.build_aggregation_factory(make_plan('gaussian'), 9), selected=range(2)
    )
    process = tff.learning.algorithms.build_unweighted_fed_avg(
        build_model,
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(0.1),
        server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0),
        model_aggregator=factory,
    )
    state = process.initialize()
    before = process.get_model_weights(state).trainable
    batch = collections.OrderedDict(
        x=np.ones([5, 4], np.float32), y=np.array([0, 1, 1, 0, 1], np.int32)
    )
    data = [tf.data.Dataset.from_tensors(batch)] * 2
    state = process.next(state, data).state
    after = process.get_model_weights(state).trainable
    for old, new in zip(before[:2], after[:2]):
        # Clipped to C = 0.5 and over m = 8, the update alone would be 1/8 at most.
        assert not np.any(np.equal(old, new))
    # The classifier's own updates were not zero, but stayed on the clients.
    for old, new in zip(before[2:], after[2:]):
        np.testing.assert_array_equal(old, new)


def test_inner_aggregator_sees_the_selected_part_alone():
    seen = []

    class Recording(tff.aggregators.UnweightedAggregationFactory):
        def create(self, value_type):
            seen.append(value_type)
            return SUM.create(value_type)

    factory = aggregation.PartialAggregationFactory(Recording(), selected=[2, 0, 0])
    process = factory.create(VALUE_TYPE)
    assert seen == [tff.to_type([(np.float32, [3]), (np.float32, [1])])]
    assert process.next.type_signature.result.result == tff.FederatedType(
        VALUE_TYPE, tff.SERVER
    )


def test_values_and_zeros_come_back_in_place(tff_runtime):
    structure = tff.to_type(
        collections.OrderedDict(a=(np.float32, [3]), b=(np.float32, [2, 2]))
    )
    factory = aggregation.PartialAggregationFactory(
        SUM, selected=lambda value_type: [len(value_type) - 1]
    )
    process = factory.create(structure)
    values = [
        collections.OrderedDict(a=np.ones(3, np.float32), b=np.full([2, 2], x, np.float32))
        for x in (1.0, 2.0)
    ]
    result = process.next(process.initialize(), values).result
    np.testing.assert_array_equal(result['a'], np.zeros(3))
    np.testing.assert_array_equal(result['b'], np.full([2, 2], 3.0))


@pytest.mark.parametrize('selected', [[], [3], [-1]])
def test_positions_outside_the_update_are_refused(selected):
    factory = aggregation.PartialAggregationFactory(SUM, selected)
    with pytest.raises(ValueError, match='selected='):
        factory.create(VALUE_TYPE)


def test_weighted_inner_factory_is_refused():
    with pytest.raises(TypeError, match='Unweighted'):
        aggregation.PartialAggregationFactory(tff.aggregators.MeanFactory(), [0])

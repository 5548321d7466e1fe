"""Partial aggregation: what is not selected is neither touched nor seen."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import privacy

VALUE_TYPE = tff.to_type([(np.float32, [3]), (np.float32, [2, 2]), (np.float32, [1])])
SUM = tff.aggregators.SumFactory()

# Whose noise can be drawn in a graph.
IN_GRAPH = sorted(
    name for name, cls in privacy.MECHANISMS.items() if not issubclass(cls, privacy.Correlated)
)


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
        aggregation.build_aggregation_factory(privacy.PrivateRun(make_plan('gaussian'), 9)),
        selected=range(2),
    )
    process = tff.learning.algorithms.build_unweighted_fed_avg(
        build_model,
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(0.1),
        server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0),
        model_aggregator=factory,
        metrics_aggregator=aggregation.drop_metrics,
    )
    state = process.initialize()
    before = process.get_model_weights(state).trainable
    batch = collections.OrderedDict(
        x=np.ones([5, 4], np.float32), y=np.array([0, 1, 1, 0, 1], np.int32)
    )
    data = [tf.data.Dataset.from_tensors(batch)] * 2
    output = process.next(state, data)
    state = output.state
    # By itself it would report the loss and the number of examples, without noise.
    assert output.metrics['client_work'] == {'train': {}}
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


@pytest.mark.parametrize('selected', [[], [3], [-1], ['b'], 'kernel', [0, 1.0], [True], [None]])
def test_positions_outside_the_update_are_refused(selected):
    factory = aggregation.PartialAggregationFactory(SUM, selected)
    with pytest.raises(ValueError, match='selected='):
        factory.create(VALUE_TYPE)


def test_weighted_inner_factory_is_refused():
    with pytest.raises(TypeError, match='Unweighted'):
        aggregation.PartialAggregationFactory(tff.aggregators.MeanFactory(), [0])


def named(value):
    return collections.OrderedDict(
        # Not in the order of the alphabet, which `tf.nest` would take.
        second=np.full([3], value, np.float32),
        first=collections.OrderedDict(
            z=np.full([2], 10 * value, np.float32), a=np.full([1], 20 * value, np.float32)
        ),
        head=np.full([2, 2], value, np.float32),
    )


STRUCTURES = {
    'list': (
        tff.to_type([(np.float32, [3]), (np.float32, [2]), (np.float32, [2, 2])]),
        lambda value: [np.full(shape, value, np.float32) for shape in ([3], [2], [2, 2])],
        [1, 0],
    ),
    'names': (
        tff.to_type(tf.nest.map_structure(lambda x: (np.float32, x.shape), named(1.0))),
        named,
        ['first', 'second'],
    ),
    'positions among names': (
        tff.to_type(tf.nest.map_structure(lambda x: (np.float32, x.shape), named(1.0))),
        named,
        range(2),
    ),
    'nested': (
        tff.to_type([[(np.float32, [3]), [(np.float32, [1])]], (np.float32, [2]), np.float32]),
        lambda value: [
            [np.full([3], value, np.float32), [np.full([1], 2 * value, np.float32)]],
            np.full([2], 3 * value, np.float32),
            np.float32(value),
        ],
        [0, 1],
    ),
    'lists among names': (
        tff.to_type(
            collections.OrderedDict(
                b=(np.float32, [3]), a=[np.float32, (np.float32, [2])], head=(np.float32, [2])
            )
        ),
        lambda value: collections.OrderedDict(
            b=np.full([3], value, np.float32),
            a=[np.float32(2 * value), np.full([2], 3 * value, np.float32)],
            head=np.full([2], 5 * value, np.float32),
        ),
        ['b', 'a'],
    ),
}


def numbers(value):
    """Name or position of each top-level element -> its numbers, in order."""
    struct = tff.structure.from_container(value, recursive=True)
    return [
        np.concatenate([np.ravel(leaf) for leaf in tff.structure.flatten(element)])
        for element in struct
    ]


@pytest.mark.parametrize('structure', STRUCTURES)
def test_elements_are_those_of_the_tff_structure(structure, tff_runtime):
    value_type, make, selected = STRUCTURES[structure]
    process = aggregation.PartialAggregationFactory(SUM, selected).create(value_type)
    result = process.next(process.initialize(), [make(1.0), make(2.0)]).result
    found, expected = numbers(result), numbers(make(3.0))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert not np.any(found[2])
    assert process.next.type_signature.result.result.member.is_equivalent_to(value_type)


@pytest.mark.parametrize('mechanism', IN_GRAPH)
@pytest.mark.parametrize('structure', STRUCTURES)
def test_every_mechanism_clips_and_noises_the_selected_elements(
    structure, mechanism, tff_runtime, make_plan
):
    value_type, make, selected = STRUCTURES[structure]
    inner = aggregation.build_aggregation_factory(privacy.PrivateRun(make_plan(mechanism), 9))
    process = aggregation.PartialAggregationFactory(inner, selected).create(value_type)
    result = process.next(process.initialize(), [make(1.0), make(2.0)]).result
    whole, head = np.concatenate(numbers(result)[:2]), numbers(result)[2]
    assert not np.any(head)
    directions = np.concatenate(numbers(make(1.0))[:2])
    if mechanism == 'none':
        np.testing.assert_allclose(whole, 3 * directions / 8, rtol=1e-5)
    elif mechanism == 'clip_only':
        # Two records of norm C = 0.5 each, over m = 8, by the selected part alone.
        np.testing.assert_allclose(
            whole, directions / np.linalg.norm(directions) / 8, atol=1e-5
        )
    else:
        assert np.all(whole) and len(np.unique(whole)) == len(whole)


def test_an_update_without_elements_is_refused():
    factory = aggregation.PartialAggregationFactory(SUM, [0])
    with pytest.raises(ValueError, match='expected a structure'):
        factory.create(tff.TensorType(np.float32, [3]))


def test_half_named_updates_are_refused_which_tff_has_no_container_for():
    half_named = tff.StructType([('a', np.float32), (None, tff.TensorType(np.float32, [2]))])
    with pytest.raises(ValueError, match='mix of named and unnamed'):
        aggregation.PartialAggregationFactory(SUM, ['a']).create(half_named)

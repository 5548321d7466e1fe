"""What leaves a client, proven from the types of the process: never a head."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.learning import client_config
from dp_fedemb.learning import process as process_lib
from dp_fedemb.learning import shard_work

# No two of these are equal, so a shape tells whose it is.
IMAGE_SHAPE, WIDTH, EMBEDDING_DIM = (4, 6, 1), 13, 7
BACKBONE_SHAPES = [(24, WIDTH), (WIDTH,), (WIDTH, EMBEDDING_DIM), (EMBEDDING_DIM,)]
FROZEN_SHAPES = BACKBONE_SHAPES[:2]
CONFIG = client_config.ClientConfig(head_only_steps=1, momentum=0.9)
# Whose noise can be drawn in a graph.
ALL = sorted(
    name for name, cls in privacy.MECHANISMS.items() if not issubclass(cls, privacy.Correlated)
)


def build_model(freeze_first):
    def build():
        images = tf.keras.Input(IMAGE_SHAPE)
        first = tf.keras.layers.Dense(WIDTH, trainable=not freeze_first)
        x = first(tf.keras.layers.Flatten()(images))
        return tf.keras.Model(images, tf.keras.layers.Dense(EMBEDDING_DIM)(x))

    return models.EmbeddingModel(build, IMAGE_SHAPE, EMBEDDING_DIM, models.HEADS['linear']())


def shapes(type_):
    """Static shapes of all tensors in a type, None for an unknown size."""
    found = []

    def visit(inner):
        if isinstance(inner, tff.TensorType):
            found.append(tuple(inner.shape))
        elif isinstance(inner, tff.StructType):
            for element in inner.children():
                visit(element)
        else:
            visit(inner.element if isinstance(inner, tff.SequenceType) else inner.member)

    visit(type_)
    return found


@pytest.mark.parametrize('mechanism', ALL)
@pytest.mark.parametrize('path', ['query', 'model_aggregator'])
def test_nothing_but_scalars_and_backbone_shapes_is_in_the_state(path, mechanism, make_plan):
    plan = make_plan(mechanism)
    run = privacy.PrivateRun(plan, 3)
    part = {
        'query': lambda: aggregation.build_query(
            run, build_model(False).record_specs(), in_graph=True
        ),
        'model_aggregator': lambda: aggregation.build_aggregation_factory(run),
    }[path]()
    process = process_lib.build_dp_fedemb(build_model(False), CONFIG, **{path: part})
    signature = process.next.type_signature
    state, data = signature.parameter
    assert state.placement is tff.SERVER and data.placement is tff.CLIENTS
    # The state: scalars, the key of the noise, an attempt for each planned round of a
    # tree, and tensors of the backbone.
    key, attempts = (2,), (plan.rounds,)
    assert set(shapes(state)) <= {(), key, attempts, *BACKBONE_SHAPES}
    assert signature.result.state == state
    # What comes back beside the state are scalars.
    assert set(shapes(signature.result.metrics)) <= {()}
    assert process.get_model_weights.type_signature.result.trainable == tff.to_type(
        [(np.float32, shape) for shape in BACKBONE_SHAPES]
    )
    # Images, local labels and a key, in a sequence of virtual clients; no tensor in it or
    # elsewhere has an axis of identities.
    expected = [(None, *IMAGE_SHAPE), (None,), (2,)]
    assert isinstance(data.member, tff.SequenceType)
    assert shapes(data) == expected


@pytest.mark.parametrize('mechanism', ALL)
@pytest.mark.parametrize('freeze_first', [False, True])
def test_partial_sums_hold_the_trained_backbone_alone(mechanism, freeze_first, make_plan):
    plan = make_plan(mechanism)
    model = build_model(freeze_first)
    query = aggregation.build_query(
        privacy.PrivateRun(plan, 3), model.record_specs(), in_graph=True
    )
    backbone = model.build_backbone()
    weights = tff.learning.models.ModelWeights(
        [tf.TensorSpec(weight.shape) for weight in backbone.trainable_variables],
        [tf.TensorSpec(weight.shape) for weight in backbone.non_trainable_variables],
    )
    work = shard_work.ShardWork(model, CONFIG, query)
    client = process_lib.local_fine_tuning.virtual_client_spec(IMAGE_SHAPE)
    params = query.derive_sample_params(query.initial_global_state())
    concrete = work.run.get_concrete_function(
        weights, params, tf.TensorSpec([]), tf.data.DatasetSpec(client)
    )
    partial_sum, measurements = concrete.structured_outputs
    trained = BACKBONE_SHAPES[2:] if freeze_first else BACKBONE_SHAPES
    counts = [()] if 'adaptive' in mechanism else []
    found = [tuple(tensor.shape) for tensor in tf.nest.flatten(partial_sum)]
    assert found == trained + counts
    assert {tuple(tensor.shape) for tensor in tf.nest.flatten(measurements)} == {()}


def test_raw_metrics_leave_the_clients_only_when_asked_for(make_plan):
    query = aggregation.build_query(
        privacy.PrivateRun(make_plan('gaussian'), 3),
        build_model(False).record_specs(),
        in_graph=True,
    )
    names = {}
    for raw in (False, True):
        process = process_lib.build_dp_fedemb(
            build_model(False), CONFIG, query=query, raw_metrics=raw
        )
        metrics = process.next.type_signature.result.metrics.member
        names[raw] = set(dir(metrics.client_work))
    assert names[False] == set()
    assert names[True] == {'virtual_clients', 'loss', 'update_norm', 'non_finite'}


def test_exactly_one_aggregation(make_plan):
    plan = make_plan('gaussian')
    both = {
        'query': aggregation.build_query(
            privacy.PrivateRun(plan, 3), build_model(False).record_specs(), in_graph=True
        ),
        'model_aggregator': aggregation.build_aggregation_factory(privacy.PrivateRun(plan, 3)),
    }
    for arguments in ({}, both):
        with pytest.raises(ValueError, match='exactly one'):
            process_lib.build_dp_fedemb(build_model(False), CONFIG, **arguments)

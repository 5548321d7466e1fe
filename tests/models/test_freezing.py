"""Freezing: which weights stop being trained, noised and aggregated."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import models
from dp_fedemb.learning import client_config
from dp_fedemb.learning import local_fine_tuning

SHAPE = (16, 16, 1)


def names(variables):
    return [variable.name.split(':')[0] for variable in variables]


def build(backbone, freeze):
    return models.build_embedding_model(backbone, SHAPE, 8, freeze=freeze).build_backbone()


@pytest.mark.parametrize(
    'freeze, frozen',
    [
        ('', []),
        ('conv', ['conv1/kernel', 'conv2/kernel']),
        ('conv1', ['conv1/kernel', 'conv1/bias']),
        ('conv1, emb*', ['conv1/kernel', 'conv1/bias', 'embeddings/kernel', 'embeddings/bias']),
    ],
)
def test_lenet(freeze, frozen):
    model = build('lenet', freeze)
    assert names(model.non_trainable_variables) == frozen
    kept = [
        name for name in names(build('lenet', '').trainable_variables) if name not in frozen
    ]
    assert names(model.trainable_variables) == kept


@pytest.mark.parametrize('backbone', ['small_conv', 'resnet18', 'mobilenet_v2'])
def test_conv_leaves_norms_biases_and_the_embedding(backbone):
    model = models.BACKBONES[backbone](SHAPE, 8)
    models.freeze(model, 'conv')
    trained = names(model.trainable_variables)
    assert {name.split('/')[1] for name in trained if 'embeddings' not in name} <= {
        'gamma',
        'beta',
        'bias',
    }
    assert {'embeddings/kernel', 'embeddings/bias'} <= set(trained)
    assert all('kernel' in name for name in names(model.non_trainable_variables))
    assert len(trained) + len(model.non_trainable_variables) == len(model.weights)


def test_weight_counts():
    whole = models.build_embedding_model('lenet', (28, 28, 1)).weight_counts()
    counts = models.build_embedding_model('lenet', (28, 28, 1), freeze='conv').weight_counts()
    assert counts.frozen == 25 * 32 + 25 * 32 * 64
    assert counts.noised == counts.trainable == whole.total - counts.frozen
    assert counts.total == whole.total
    assert str(counts) == '453,632 weights: 401,632 trained and noised, 52,000 frozen'


def test_clients_leave_frozen_weights_alone():
    model = models.build_embedding_model('small_conv', SHAPE, 8, freeze='conv')
    start, frozen = model.initial_weights(3)
    fine_tuning = local_fine_tuning.LocalFineTuning(
        model, client_config.ClientConfig(momentum=0.9, local_epochs=2)
    )
    fine_tuning.load_frozen(frozen)
    client = {
        'examples': np.random.default_rng(0).integers(0, 255, (4, *SHAPE), np.uint8),
        'labels': np.array([0, 1, 1, 2], np.int32),
        'seed': np.array([3, 4], np.int64),
    }
    delta, _ = fine_tuning.update(start, client, tf.constant(0.1))
    assert [part.shape for part in delta] == [weight.shape for weight in start]
    assert all(np.any(part) for part in delta)
    for variable, value in zip(
        fine_tuning.backbone.non_trainable_variables, frozen, strict=True
    ):
        np.testing.assert_array_equal(variable, value)


def test_a_nested_model_is_searched():
    inner = models.BACKBONES['small_conv'](SHAPE, 8)
    images = tf.keras.Input(SHAPE)
    outer = tf.keras.Model(images, tf.keras.layers.Dense(3, name='top')(inner(images)))
    models.freeze(outer, 'norm?')
    assert {name.split('/')[0] for name in names(outer.non_trainable_variables)} == {
        'norm1',
        'norm2',
        'norm3',
    }


@pytest.mark.parametrize(
    'freeze, message',
    [
        (
            'convolution*',
            "freeze='convolution.*' matches no layer of lenet: .*conv1, conv2, emb",
        ),
        ('conv1,pool1', "freeze='pool1' matches no layer"),  # It has no weights.
        ('conv1,', "freeze='' matches no layer"),
        ('*', 'lenet: no trainable weights are left; freeze fewer layers'),
    ],
)
def test_wrong_patterns_are_refused_at_once(freeze, message):
    with pytest.raises(ValueError, match=message) as error:
        models.build_embedding_model('lenet', SHAPE, freeze=freeze)
    assert '\n' not in str(error.value)


def test_conv_without_convolutions():
    images = tf.keras.Input((4,))
    model = tf.keras.Model(images, tf.keras.layers.Dense(2)(images), name='dense')
    with pytest.raises(ValueError, match='dense has no convolution'):
        models.freeze(model, 'conv')

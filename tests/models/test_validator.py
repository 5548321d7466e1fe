"""Layers unfit for user-level privacy are all named, with what to use instead."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import models
from dp_fedemb.learning import client_config
from dp_fedemb.learning import local_fine_tuning
from dp_fedemb.models import validator

SHAPE = (8, 8, 3)


class CallCounter(tf.keras.layers.Layer):
    """Keeps a count over all examples that it has seen."""

    def build(self, input_shape):
        self.count = self.add_weight('count', [], initializer='zeros', trainable=False)

    def call(self, inputs):
        self.count.assign_add(tf.cast(tf.shape(inputs)[0], tf.float32))
        return inputs


class Block(tf.keras.layers.Layer):
    """A layer that hides another one."""

    def __init__(self, **options):
        super().__init__(**options)
        self.inner = tf.keras.layers.BatchNormalization()

    def call(self, inputs, training=None):
        return self.inner(inputs, training=training)


def sequential(*layers):
    return tf.keras.Sequential(
        [tf.keras.Input(SHAPE), *layers, tf.keras.layers.Flatten(), tf.keras.layers.Dense(4)]
    )


def embedding_model(model):
    return models.EmbeddingModel(lambda: model, SHAPE, 4, models.build_head('linear'))


def adapted():
    layer = tf.keras.layers.Normalization()
    layer.adapt(np.random.default_rng(0).random((5, *SHAPE)))
    return layer


@pytest.mark.parametrize(
    'build, name, advice',
    [
        (
            lambda: tf.keras.layers.BatchNormalization(name='bn'),
            'bn',
            'dp_fedemb.models.GroupNorm',
        ),
        (lambda: Block(name='block'), 'block', 'dp_fedemb.models.GroupNorm'),
        (adapted, 'normalization', 'Normalization(mean=..., variance=...)'),
        (lambda: tf.keras.layers.Dropout(0.5, name='drop'), 'drop', 'the seed of the run'),
        (lambda: CallCounter(name='counter'), 'counter', r'state (counter/count:0)'),
    ],
)
def test_unfit(build, name, advice):
    layer = build()
    reasons = validator.unfit_layers(sequential(layer))
    assert list(reasons) == [layer.name] and name in layer.name
    assert advice in reasons[layer.name]


def test_all_are_named_in_one_line_and_nested_models_are_searched():
    nested = tf.keras.Sequential([tf.keras.layers.BatchNormalization(name='deep')])
    model = sequential(tf.keras.layers.BatchNormalization(name='first'), nested, CallCounter())
    with pytest.raises(ValueError, match='unfit .*first: .*deep: .*call_counter: ') as error:
        embedding_model(model).build_backbone()
    assert '\n' not in str(error.value)


def test_state_of_a_subclassed_model():
    class Subclassed(tf.keras.Model):
        def __init__(self):
            super().__init__(name='subclassed')
            self.dense = tf.keras.layers.Dense(4)
            self.seen = self.add_weight('seen', [], trainable=False)

        def call(self, inputs):
            return self.dense(tf.reshape(inputs, [-1, 8 * 8 * 3]))

    with pytest.raises(ValueError, match=r'subclassed: it keeps state \(seen:0\)'):
        embedding_model(Subclassed()).build_backbone()


def test_fit():
    model = sequential(
        tf.keras.layers.Normalization(mean=[0.5] * 3, variance=[0.1] * 3),
        tf.keras.layers.Conv2D(4, 3),
        models.GroupNorm(groups=2),
        tf.keras.layers.LayerNormalization(),
    )
    assert validator.unfit_layers(model) == {}
    assert embedding_model(model).build_backbone() is model


def test_frozen_batch_norm_is_fit_and_keeps_its_statistics():
    norm = tf.keras.layers.BatchNormalization(name='bn', trainable=False)
    model = sequential(tf.keras.layers.Conv2D(4, 3), norm)
    norm.moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    fine_tuning = local_fine_tuning.LocalFineTuning(
        embedding_model(model), client_config.ClientConfig()
    )
    start = [variable.numpy() for variable in model.trainable_variables]
    client = {
        'examples': np.full((2, *SHAPE), 200, np.uint8),
        'labels': np.array([0, 1], np.int32),
        'seed': np.array([3, 4], np.int64),
    }
    fine_tuning.update(start, client, tf.constant(0.1))
    np.testing.assert_array_equal(norm.moving_mean, [1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    'shape, dim, message',
    [
        ((9, 8, 3), 4, r'takes examples \(None, 8, 8, 3\): the data.* \(None, 9, 8, 3\)'),
        (SHAPE, 5, r'returns \(None, 4\): expected \(None, 5\)'),
    ],
)
def test_shapes(shape, dim, message):
    with pytest.raises(ValueError, match=message):
        validator.check(sequential(), tf.TensorSpec([None, *shape]), dim)


def test_images_of_any_size_are_accepted():
    images = tf.keras.Input((None, None, 3))
    pooled = tf.keras.layers.GlobalAveragePooling2D()(images)
    model = tf.keras.Model(images, tf.keras.layers.Dense(4)(pooled))
    validator.check(model, tf.TensorSpec([None, *SHAPE]), 4)

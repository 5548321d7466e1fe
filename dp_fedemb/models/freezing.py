"""Layers that are not trained: fewer coordinates to noise.

The paper's ablation freezes the convolutions of a pretrained backbone and trains the
rest. Its released code does so for whole layers: every convolution of MobileNetV2;
in ResNet-50 those of stages 3 and 4 only (`conv3_*_conv,conv4_*_conv`
here); LeNet not at all. `conv` here is the same for every backbone.
"""

import fnmatch

import tensorflow as tf

from dp_fedemb.models import validator

_CONVOLUTIONS = (
    tf.keras.layers.Conv1D,
    tf.keras.layers.Conv2D,
    tf.keras.layers.Conv3D,
    tf.keras.layers.DepthwiseConv1D,
    tf.keras.layers.DepthwiseConv2D,
    tf.keras.layers.SeparableConv1D,
    tf.keras.layers.SeparableConv2D,
)


def freeze(model: tf.keras.Model, what: str) -> None:
    """Freezes layers in place: their weights become non-trainable variables.

    Args:
        model: a built Keras model.
        what: '' for nothing; 'conv' for the kernels of all convolutions, so that
            normalisation layers, biases and the dense embedding layer are trained; or
            comma-separated patterns (`fnmatch`) of names of layers, which are frozen
            whole.

    Raises:
        ValueError: if a pattern matches no layer with weights.
    """
    if not what:
        return
    layers = [layer for layer in validator.leaf_layers(model) if layer.weights]
    if what == 'conv':
        convolutions = [layer for layer in layers if isinstance(layer, _CONVOLUTIONS)]
        if not convolutions:
            raise ValueError(f'freeze={what!r}: {model.name} has no convolution')
        for layer in convolutions:
            _freeze_kernels(layer)
        return
    for pattern in what.split(','):
        matched = [
            layer for layer in layers if fnmatch.fnmatchcase(layer.name, pattern.strip())
        ]
        if not matched:
            listed = ', '.join(layer.name for layer in layers)
            raise ValueError(
                f'freeze={pattern.strip()!r} matches no layer of {model.name}: expected'
                f' "conv" or patterns of {listed}'
            )
        for layer in matched:
            layer.trainable = False


def _freeze_kernels(layer: tf.keras.layers.Layer) -> None:
    """Freezes all weights of a convolution but the bias."""
    if not layer.use_bias:
        layer.trainable = False
        return
    # Keras freezes whole layers only. These two lists are what it reads the model's
    # trainable and non-trainable variables from.
    trained, frozen = layer._trainable_weights, layer._non_trainable_weights
    for weight in [weight for weight in trained if weight is not layer.bias]:
        trained[:] = [other for other in trained if other is not weight]
        frozen.append(weight)

"""A Keras file: a model of Keras' own layers, to be looked into and trained on.

The SavedModel holds a graph and weights and no layers, so the backbone that has these
weights is found again among ours, by the names and shapes of all of them. Our GroupNorm
is written as Keras' own layer, which has the same weights and result, so that the file
opens where this package is not.
"""

import pathlib
from typing import Any

import numpy as np

from dp_fedemb import models
from dp_fedemb.export import runtime
from dp_fedemb.models import pretrained
from dp_fedemb.models import weight_values

# Built in no time, so tried first.
_SMALL = ('lenet', 'small_conv')


def write(saved_model: pathlib.Path, path: pathlib.Path, calibration: np.ndarray) -> None:
    """Writes the file; see `runtime.Format`.

    Raises:
        ValueError: if no backbone of this package has the model's weights.
    """
    del calibration
    import tensorflow as tf

    backbone = _backbone(saved_model)
    layers = tf.keras.layers
    images = tf.keras.Input(backbone.input_shape[1:], dtype='uint8', name='images')
    levels = layers.Rescaling(1.0 / 255.0, name='levels')(images)
    embeddings = layers.UnitNormalization(axis=-1, name='unit_norm')(backbone(levels))
    tf.keras.Model(images, embeddings, name='embedding_model').save(path)


def load(path: pathlib.Path) -> runtime.Embed:
    """Loads it with Keras; see `runtime.Format`."""
    import tensorflow as tf

    model = tf.keras.models.load_model(path, compile=False)
    return lambda examples: model.predict_on_batch(examples)


def _backbone(saved_model: pathlib.Path) -> Any:
    """The backbone with the SavedModel's weights, of Keras' layers alone."""
    import tensorflow as tf

    function, _, spec = runtime.signature(saved_model)
    dim = function.structured_outputs['embeddings'].shape[-1]
    values = pretrained.read_variables(saved_model)
    if spec.dtype == tf.uint8 and spec.shape.rank == 4:
        for name in sorted(models.BACKBONES, key=lambda name: name not in _SMALL):
            try:
                backbone = models.BACKBONES[name](tuple(spec.shape[1:]), dim)
            except ValueError:
                continue  # For another shape of images.
            names = [weight_values.name_of(variable) for variable in backbone.variables]
            shapes = {n: tuple(v.shape) for n, v in zip(names, backbone.variables)}
            if shapes == {name: value.shape for name, value in values.items()}:
                plain = tf.keras.models.clone_model(backbone, clone_function=_plain)
                plain.set_weights([values[name] for name in names])
                return plain
    raise ValueError(
        f'format keras: no backbone of this package ({", ".join(models.BACKBONES)}) has the'
        f' weights of {str(saved_model)!r}; leave keras out of the formats'
    )


def _plain(layer: Any) -> Any:
    """The layer once more, our own one as Keras' that it derives from."""
    import tensorflow as tf

    config = layer.get_config()
    if isinstance(layer, models.GroupNorm):
        return tf.keras.layers.GroupNormalization.from_config(config)
    return type(layer).from_config(config)

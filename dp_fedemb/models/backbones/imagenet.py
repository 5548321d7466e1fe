"""Published ImageNet kernels for ResNet-50 and MobileNetV2.

Keras publishes weights of networks with BatchNorm. Only their convolution kernels have
a place here; what is not taken:

- the biases that Keras's ResNet-50 adds in every convolution: under BatchNorm they are
  without effect (its mean removes them), and the convolutions here have none;
- the BatchNorm parameters: they belong to statistics over a batch, which GroupNorm
  does not compute. The norms start anew (scale 1, offset 0), and training adapts them
  with or without the kernels frozen (`freezing`).

The first kernel is adapted to RGB images in [0, 1]: Keras's ResNet-50 was trained on
BGR in 0..255 less a mean, its MobileNetV2 on RGB in [-1, 1]. Order and scale go into
the kernel exactly; the subtracted mean amounts to a constant per filter, which is
dropped as the biases are. A kernel for RGB is summed over its inputs for grey images.
"""

from collections.abc import Iterator
import dataclasses
import re
from typing import Union

import h5py
import numpy as np
import tensorflow as tf

from dp_fedemb.models import validator

# Model name -> (name of the first convolution, what its published kernel becomes).
_FIRST_KERNEL = {
    'resnet50': ('conv1_conv', lambda kernel: 255.0 * kernel[:, :, ::-1, :]),
    'mobilenet_v2': ('stem_conv', lambda kernel: 2.0 * kernel),
}
_CONVOLUTIONS = (tf.keras.layers.Conv2D, tf.keras.layers.DepthwiseConv2D)
_KERNEL_NAME = re.compile(r'(?:^|/)(?:depthwise_)?kernel:0$')


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What a file gave to a model.

    Attributes:
        loaded: convolutions of the model that got their kernel from the file.
        other_shape: convolutions whose kernel has another shape in the file, with
            both shapes; they keep their values.
        missing: convolutions that the file does not have.
        unused: kernels of the file that the model does not have.
    """

    loaded: tuple[str, ...]
    other_shape: dict[str, str]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.other_shape) + len(self.missing)
        text = f'{len(self.loaded)} of {total} convolutions loaded'
        if self.other_shape:
            shapes = ', '.join(f'{name} ({text})' for name, text in self.other_shape.items())
            text += f'; of another shape: {shapes}'
        if self.missing:
            text += f'; not in the file: {", ".join(self.missing)}'
        if self.unused:
            text += f'; in the file only: {", ".join(self.unused)}'
        return text


def load_imagenet_convolutions(model: tf.keras.Model, path: str) -> LoadReport:
    """Copies the convolution kernels of a Keras weight file into a backbone.

    Args:
        model: a `resnet50` or `mobilenet_v2` backbone, built eagerly; its kernels are
            overwritten, its normalisation and embedding layers left alone.
        path: HDF5 weights of `tf.keras.applications.ResNet50` or `MobileNetV2`, with
            or without top.

    Raises:
        ValueError: for another backbone, or a file that has no kernel for it.
    """
    if model.name not in _FIRST_KERNEL:
        raise ValueError(
            f'no published ImageNet kernels for {model.name}: expected one of'
            f' {", ".join(_FIRST_KERNEL)}'
        )
    published = {_our_name(layer): kernel for layer, kernel in _kernels(path)}
    first_layer, adapt = _FIRST_KERNEL[model.name]
    loaded, other_shape, missing = [], {}, []
    for layer in validator.leaf_layers(model):
        if not isinstance(layer, _CONVOLUTIONS):
            continue
        if layer.name not in published:
            missing.append(layer.name)
            continue
        kernel = published.pop(layer.name)
        variable = layer.weights[0]
        if layer.name == first_layer:
            kernel = adapt(kernel)
            if variable.shape[2] == 1:
                kernel = kernel.sum(axis=2, keepdims=True)
        if kernel.shape != tuple(variable.shape):
            other_shape[layer.name] = f'file {kernel.shape}, model {tuple(variable.shape)}'
            continue
        variable.assign(kernel)
        loaded.append(layer.name)
    if not loaded:
        raise ValueError(
            f'{path} has no kernel for {model.name}: expected Keras weights of that network'
        )
    return LoadReport(tuple(loaded), other_shape, tuple(missing), tuple(published))


def _kernels(path: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (layer name, kernel [h, w, in, out]) of a Keras HDF5 file."""
    if not h5py.is_hdf5(path):
        raise ValueError(f'{path} is not an HDF5 file: expected Keras weights, *.h5')
    with h5py.File(path, 'r') as file:
        root = _own(file, 'model_weights', path) if 'model_weights' in file else file
        if 'layer_names' not in root.attrs:
            raise ValueError(f'{path} holds no Keras weights: it has no layer_names')
        for layer in map(_text, root.attrs['layer_names']):
            of_layer = _own(root, layer, path)
            for name in map(_text, of_layer.attrs['weight_names']):
                kernel = _own(of_layer, name, path)
                if _KERNEL_NAME.search(name) and kernel.ndim == 4:
                    yield layer, kernel[()]


def _own(group: h5py.Group, name: str, path: str) -> Union[h5py.Group, h5py.Dataset]:
    """What has this name, if the file itself has it.

    HDF5 can lead to any other file, whose bytes would become weights and be published.
    """
    found = group
    for part in name.split('/'):
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f'{path}: {name} is not in it, or a link, which is not followed')
        found = found[part]
    if isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
        raise ValueError(f'{path}: {name} has its values in another file, which is not read')
    return found


def _text(value: Union[str, bytes]) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _our_name(published: str) -> str:
    """Our name of a published layer; ResNet-50's are the same."""
    if published in ('Conv1', 'Conv_1'):
        return {'Conv1': 'stem_conv', 'Conv_1': 'last_conv'}[published]
    published = re.sub(r'^expanded_conv_', 'block_0_', published)
    return re.sub(r'^block_(\d+)_(expand|depthwise|project)$', r'block\1_\2_conv', published)

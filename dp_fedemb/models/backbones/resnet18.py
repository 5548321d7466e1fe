"""ResNet-18 with GroupNorm (He et al. 2016, arXiv 1512.03385, table 1)."""

import tensorflow as tf

from dp_fedemb.models.backbones import residual


def build(image_shape: tuple[int, int, int], embedding_dim: int = 128) -> tf.keras.Model:
    """Returns the backbone: float32 [n, H, W, C] in [0, 1] -> float32 [n, D].

    Images with a side below 64 pixels start without downsampling, see `residual`.
    """
    return residual.build(image_shape, embedding_dim, _block, (2, 2, 2, 2), 'resnet18')


def _block(x: tf.Tensor, filters: int, stride: int, name: str) -> tf.Tensor:
    """Two 3x3 convolutions around a shortcut (figure 5, left)."""
    skipped = residual.shortcut(x, filters, stride, name)
    x = residual.convolution(x, filters, 3, stride, f'{name}_1')
    x = tf.keras.layers.ReLU(name=f'{name}_1_relu')(x)
    x = residual.convolution(x, filters, 3, 1, f'{name}_2')
    return residual.add(x, skipped, name)

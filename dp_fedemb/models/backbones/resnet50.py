"""ResNet-50 with GroupNorm (He et al. 2016, arXiv 1512.03385, table 1).

The paper's backbone for faces and for the large landmark and species data. A stage
halves the image in its first 1x1 convolution, as He et al. and Keras have it, so that
Keras's ImageNet kernels compute here what they were trained for
(`imagenet.load_imagenet_convolutions`).
"""

import tensorflow as tf

from dp_fedemb.models.backbones import residual


def build(image_shape: tuple[int, int, int], embedding_dim: int = 128) -> tf.keras.Model:
    """Returns the backbone: float32 [n, H, W, C] in [0, 1] -> float32 [n, D].

    Images with a side below 64 pixels start without downsampling, see `residual`.
    """
    return residual.build(image_shape, embedding_dim, _block, (3, 4, 6, 3), 'resnet50')


def _block(x: tf.Tensor, filters: int, stride: int, name: str) -> tf.Tensor:
    """1x1, 3x3, 1x1 to four times the filters, around a shortcut (figure 5, right)."""
    skipped = residual.shortcut(x, 4 * filters, stride, name)
    x = residual.convolution(x, filters, 1, stride, f'{name}_1')
    x = tf.keras.layers.ReLU(name=f'{name}_1_relu')(x)
    x = residual.convolution(x, filters, 3, 1, f'{name}_2')
    x = tf.keras.layers.ReLU(name=f'{name}_2_relu')(x)
    x = residual.convolution(x, 4 * filters, 1, 1, f'{name}_3')
    return residual.add(x, skipped, name)

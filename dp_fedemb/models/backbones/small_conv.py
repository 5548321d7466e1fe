"""A small strided network: few weights, so little noise under DP.

Three strided 3x3 convolutions with GroupNorm between them and one linear
embedding layer. The noise that a Gaussian mechanism adds grows with the square
root of the number of weights, so under a tight budget this backbone beats wider
ones (paper, section 5: the choice of backbone under DP).
"""

import tensorflow as tf

from dp_fedemb.models.backbones import group_norm


def build(
    image_shape: tuple[int, int, int],
    embedding_dim: int = 32,
    filters: tuple[int, int, int] = (16, 32, 32),
) -> tf.keras.Model:
    """Returns the backbone: float32 [n, H, W, C] in [0, 1] -> float32 [n, D]."""
    layers = tf.keras.layers
    images = tf.keras.Input(image_shape, name='images')
    x = images
    for index, width in enumerate(filters, start=1):
        x = layers.Conv2D(width, 3, strides=2, padding='same', name=f'conv{index}')(x)
        x = group_norm.GroupNorm(groups=8, name=f'norm{index}')(x)
        x = layers.ReLU(name=f'relu{index}')(x)
    x = layers.Flatten(name='flatten')(x)
    embeddings = layers.Dense(embedding_dim, name='embeddings')(x)
    return tf.keras.Model(images, embeddings, name='small_conv')

"""LeNet: two 5x5 convolutions and one dense layer, the paper's EMNIST backbone.

Same shape as the two-layer network of McMahan et al. (2017, arXiv 1602.05629),
with the classifier replaced by a linear embedding layer.
"""

import tensorflow as tf


def build(image_shape: tuple[int, int, int], embedding_dim: int = 128) -> tf.keras.Model:
    """Returns the backbone: float32 [n, H, W, C] in [0, 1] -> float32 [n, D]."""
    layers = tf.keras.layers
    images = tf.keras.Input(image_shape, name='images')
    x = layers.Conv2D(32, 5, padding='same', activation='relu', name='conv1')(images)
    x = layers.MaxPooling2D(2, padding='same', name='pool1')(x)
    x = layers.Conv2D(64, 5, padding='same', activation='relu', name='conv2')(x)
    x = layers.MaxPooling2D(2, padding='same', name='pool2')(x)
    x = layers.Flatten(name='flatten')(x)
    embeddings = layers.Dense(embedding_dim, name='embeddings')(x)
    return tf.keras.Model(images, embeddings, name='lenet')

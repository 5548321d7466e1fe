"""Random changes of images that leave the identity: small affine maps and light.

Drawn by stateless generators, so that a step's images are a function of its key.
"""

import numpy as np
import tensorflow as tf

from dp_fedemb.learning import augmentation_config


def augment(
    images: tf.Tensor, config: augmentation_config.Augmentation, key: tf.Tensor
) -> tf.Tensor:
    """Changes each image of a batch in its own way.

    Args:
        images: float32 [b, H, W, C] in [0, 1].
        config: how much.
        key: int64 [2]; same key, same changes.

    Returns:
        float32 [b, H, W, C] in [0, 1].
    """
    count = tf.shape(images)[0]
    draws = tf.random.stateless_uniform([9, count], key, -1.0, 1.0)
    if config.moves:
        images = _move(images, config, draws[:7])
    if config.contrast:
        mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
        factor = 1 + config.contrast * draws[7]
        images = mean + factor[:, None, None, None] * (images - mean)
    if config.brightness:
        images += config.brightness * draws[8][:, None, None, None]
    return tf.clip_by_value(images, 0.0, 1.0)


def _move(
    images: tf.Tensor, config: augmentation_config.Augmentation, draws: tf.Tensor
) -> tf.Tensor:
    """One bilinear resampling for all of the maps."""
    size = tf.shape(images)[1:3]
    sides = tf.cast(size[::-1], tf.float32)  # width, height: x comes first
    turn, stretch_x, stretch_y, lean, shift_x, shift_y, mirror = tf.unstack(draws)
    angle = config.rotation * turn
    cos, sin = tf.cos(angle), tf.sin(angle)
    shear = config.shear * lean
    left = tf.where((mirror + 1) / 2 < config.flip, -1.0, 1.0)
    x_scale = left * (1 + config.scale * stretch_x)
    y_scale = 1 + config.scale * stretch_y
    # From a pixel of the result to its place in the image: turn @ lean @ stretch.
    a, b = cos * x_scale, (cos * shear - sin) * y_scale
    c, d = sin * x_scale, (sin * shear + cos) * y_scale
    center = (sides - 1) / 2
    x_offset = center[0] - a * center[0] - b * center[1] + config.shift * shift_x * sides[0]
    y_offset = center[1] - c * center[0] - d * center[1] + config.shift * shift_y * sides[1]
    zero = tf.zeros_like(a)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, x_offset, c, d, y_offset, zero, zero], axis=1),
        output_shape=size,
        fill_value=np.float32(0),
        interpolation='BILINEAR',
        fill_mode=config.fill.upper(),
    )
    # In a graph the operation forgets it, and a backbone is built for it.
    return tf.ensure_shape(moved, images.shape)

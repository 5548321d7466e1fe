"""What ResNet-18 and ResNet-50 share: the start, the convolutions, the stages."""

from collections.abc import Callable

import tensorflow as tf

from dp_fedemb.models.backbones import group_norm
from dp_fedemb.models.backbones import small_images

# As in the paper's code.
GROUPS = 32
EPSILON = 1e-5

# block(x, filters, stride, name) -> x
Block = Callable[[tf.Tensor, int, int, str], tf.Tensor]


def convolution(x: tf.Tensor, filters: int, size: int, stride: int, name: str) -> tf.Tensor:
    """Convolution `<name>_conv`, without bias, and `<name>_norm`."""
    if stride > 1 and size > 1:
        # The same padding on both sides, so that kernels trained elsewhere see the
        # image where they saw it there; `same` would pad one side more.
        x = tf.keras.layers.ZeroPadding2D(size // 2, name=f'{name}_pad')(x)
    x = tf.keras.layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding='valid' if stride > 1 else 'same',
        use_bias=False,
        kernel_initializer='he_normal',
        name=f'{name}_conv',
    )(x)
    return group_norm.GroupNorm(groups=GROUPS, epsilon=EPSILON, name=f'{name}_norm')(x)


def shortcut(x: tf.Tensor, filters: int, stride: int, name: str) -> tf.Tensor:
    """The identity, or the projection `<name>_0_conv` where the shape changes."""
    if stride == 1 and x.shape[-1] == filters:
        return x
    return convolution(x, filters, 1, stride, f'{name}_0')


def add(x: tf.Tensor, skipped: tf.Tensor, name: str) -> tf.Tensor:
    """End of a block: sum and ReLU."""
    x = tf.keras.layers.Add(name=f'{name}_add')([skipped, x])
    return tf.keras.layers.ReLU(name=f'{name}_out')(x)


def build(
    image_shape: tuple[int, int, int],
    embedding_dim: int,
    block: Block,
    blocks_per_stage: tuple[int, ...],
    name: str,
) -> tf.keras.Model:
    """Returns start, stages (64, 128, 256, 512 filters), mean over pixels, embedding.

    Layer names are those of `tf.keras.applications.ResNet50`, with `norm` for `bn`.
    Small images (`small_images.is_small`) start with a 3x3 convolution of stride 1
    and no pooling.
    """
    layers = tf.keras.layers
    images = tf.keras.Input(image_shape, name='images')
    if small_images.is_small(image_shape):
        x = convolution(images, 64, 3, 1, 'conv1')
        x = layers.ReLU(name='conv1_relu')(x)
    else:
        x = convolution(images, 64, 7, 2, 'conv1')
        x = layers.ReLU(name='conv1_relu')(x)
        # Zeros are as good as minus infinity after a ReLU.
        x = layers.ZeroPadding2D(1, name='pool1_pad')(x)
        x = layers.MaxPooling2D(3, strides=2, name='pool1_pool')(x)
    for stage, num_blocks in enumerate(blocks_per_stage):
        for index in range(num_blocks):
            stride = 2 if stage > 0 and index == 0 else 1
            x = block(x, 64 * 2**stage, stride, f'conv{stage + 2}_block{index + 1}')
    x = layers.GlobalAveragePooling2D(name='avg_pool')(x)
    embeddings = layers.Dense(embedding_dim, name='embeddings')(x)
    return tf.keras.Model(images, embeddings, name=name)

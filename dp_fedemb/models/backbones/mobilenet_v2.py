"""MobileNetV2 with GroupNorm (Sandler et al. 2018, arXiv 1801.04381, table 2).

The paper's backbone for landmarks and species. Two groups per layer, as in the
paper's code: the narrowest layers have 16 channels.
"""

import tensorflow as tf

from dp_fedemb.models.backbones import group_norm
from dp_fedemb.models.backbones import small_images

_GROUPS = 2
# Expansion, filters, blocks, stride of the first block.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def build(
    image_shape: tuple[int, int, int], embedding_dim: int = 128, alpha: float = 1.0
) -> tf.keras.Model:
    """Returns the backbone: float32 [n, H, W, C] in [0, 1] -> float32 [n, D].

    The first convolution and the stage of 24 filters keep the image's size where a
    side is below 64 pixels (`small_images.is_small`).

    Args:
        image_shape: (H, W, C).
        embedding_dim: D.
        alpha: factor of the numbers of filters; the last layer is not narrowed.
    """
    first_stride = 1 if small_images.is_small(image_shape) else 2
    images = tf.keras.Input(image_shape, name='images')
    stem = tf.keras.layers.Conv2D(
        _filters(32 * alpha), 3, first_stride, 'same', use_bias=False, name='stem_conv'
    )
    x = _relu6(_norm(stem(images), 'stem'), 'stem')
    block = 0
    for expansion, filters, num_blocks, stride in _STAGES:
        if filters == 24:
            stride = first_stride
        for index in range(num_blocks):
            x = _inverted_residual(
                x,
                expansion,
                _filters(filters * alpha),
                stride if index == 0 else 1,
                f'block{block}',
            )
            block += 1
    x = _pointwise(x, _filters(1280 * max(1.0, alpha)), 'last')
    x = _relu6(x, 'last')
    x = tf.keras.layers.GlobalAveragePooling2D(name='avg_pool')(x)
    embeddings = tf.keras.layers.Dense(embedding_dim, name='embeddings')(x)
    return tf.keras.Model(images, embeddings, name='mobilenet_v2')


def _inverted_residual(
    x: tf.Tensor, expansion: int, filters: int, stride: int, name: str
) -> tf.Tensor:
    """Expand, filter by depth, project; a shortcut where the shape stays."""
    skipped = x
    if expansion > 1:
        x = _pointwise(x, expansion * x.shape[-1], f'{name}_expand')
        x = _relu6(x, f'{name}_expand')
    depthwise = tf.keras.layers.DepthwiseConv2D(
        3, stride, 'same', use_bias=False, name=f'{name}_depthwise_conv'
    )
    x = _relu6(_norm(depthwise(x), f'{name}_depthwise'), f'{name}_depthwise')
    x = _pointwise(x, filters, f'{name}_project')
    if stride == 1 and skipped.shape[-1] == filters:
        x = tf.keras.layers.Add(name=f'{name}_add')([skipped, x])
    return x


def _pointwise(x: tf.Tensor, filters: int, name: str) -> tf.Tensor:
    layer = tf.keras.layers.Conv2D(filters, 1, use_bias=False, name=f'{name}_conv')
    return _norm(layer(x), name)


def _norm(x: tf.Tensor, name: str) -> tf.Tensor:
    return group_norm.GroupNorm(groups=_GROUPS, name=f'{name}_norm')(x)


def _relu6(x: tf.Tensor, name: str) -> tf.Tensor:
    return tf.keras.layers.ReLU(6.0, name=f'{name}_relu')(x)


def _filters(wanted: float) -> int:
    """The multiple of 8 next to `wanted`, at least 8 and not below 0.9 of it."""
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8

"""Random changes of images that leave the identity: small affine maps and light.

Drawn by stateless generators, so that a step's images are a function of its key.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from dp_fedemb import validate

# Pixels from beyond the border; how `ImageProjectiveTransformV3` names it.
FILLS = ('constant', 'nearest', 'reflect')


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Largest change of each kind; all are drawn uniformly and independently.

    Attributes:
        rotation: radians, either way.
        scale: relative change of size, each axis by itself.
        shear: horizontal shift per unit of height.
        shift: fraction of the image side, each axis.
        brightness: added to all pixels of an image in [0, 1].
        contrast: relative change of the distance to the image's mean.
        flip: probability of mirroring left and right. 0 for writing: a mirrored
            character is another one.
        fill: what is beyond the border: 'constant' (0), 'nearest' or 'reflect'.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    flip: float = 0.0
    fill: str = 'constant'

    def __post_init__(self):
        validate.one_of('fill', self.fill, FILLS)
        validate.probability(flip=self.flip)
        strengths = dataclasses.asdict(self)
        del strengths['fill']
        validate.non_negative(**strengths)
        for name in ('scale', 'contrast'):
            if strengths[name] >= 1:
                raise ValueError(f'{name}={strengths[name]}: expected a number in [0, 1)')

    @property
    def moves(self) -> bool:
        """Whether pixels change their place."""
        return any((self.rotation, self.scale, self.shear, self.shift, self.flip))

    def __bool__(self):
        return self.moves or any((self.brightness, self.contrast))


# Name (as in --augmentation) -> strengths.
AUGMENTATIONS = {
    'none': Augmentation(),
    'glyph': Augmentation(rotation=0.2, scale=0.15, shear=0.2, shift=0.07),
    'photo': Augmentation(
        rotation=0.1,
        scale=0.15,
        shift=0.1,
        brightness=0.15,
        contrast=0.3,
        flip=0.5,
        fill='reflect',
    ),
}


def parse(text: str) -> Augmentation:
    """Returns the augmentation of a text like 'glyph' or 'glyph:rotation=0.1,flip=0.5'.

    Raises:
        ValueError: for an unknown name or field, or an impossible value.
    """
    name, _, changes = text.partition(':')
    validate.one_of('augmentation', name, AUGMENTATIONS)
    fields = [field.name for field in dataclasses.fields(Augmentation)]
    values = {}
    for change in filter(None, changes.split(',')):
        field, _, value = change.partition('=')
        validate.one_of(f'field of augmentation {text!r}', field, fields)
        try:
            values[field] = value if field == 'fill' else float(value)
        except ValueError:
            raise ValueError(f'augmentation {text!r}: {field}={value!r} is no number') from None
    return dataclasses.replace(AUGMENTATIONS[name], **values)


def augment(images: tf.Tensor, config: Augmentation, key: tf.Tensor) -> tf.Tensor:
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


def _move(images, config, draws):
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
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, x_offset, c, d, y_offset, zero, zero], axis=1),
        output_shape=size,
        fill_value=np.float32(0),
        interpolation='BILINEAR',
        fill_mode=config.fill.upper(),
    )

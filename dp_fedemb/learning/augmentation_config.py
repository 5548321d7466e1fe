"""How images are changed in training, as frozen values; needs no TensorFlow."""

import dataclasses

from dp_fedemb import settings
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

    def __post_init__(self) -> None:
        validate.one_of('fill', self.fill, FILLS)
        validate.probability(flip=self.flip)
        validate.within('[0, 10]', rotation=self.rotation, shear=self.shear)
        validate.within('[0, 1]', shift=self.shift, brightness=self.brightness)
        validate.within('[0, 1)', scale=self.scale, contrast=self.contrast)

    @property
    def moves(self) -> bool:
        """Whether pixels change their place."""
        return any((self.rotation, self.scale, self.shear, self.shift, self.flip))

    def __bool__(self) -> bool:
        return self.moves or any((self.brightness, self.contrast))


HELP = (
    'none, glyph or photo, with changes after a colon: "glyph:rotation=0.1,shift=0.05".'
    ' Fields: rotation, scale, shear, shift, brightness, contrast, flip, fill.'
)

# Name -> strengths.
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
    return settings.parse_preset('augmentation', text, AUGMENTATIONS)

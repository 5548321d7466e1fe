"""From images of any size and mode to the fixed uint8 shape of a store."""

from collections.abc import Callable, Mapping
import dataclasses
import os
from typing import Any, BinaryIO, Optional, Union

import numpy as np
from PIL import Image

from dp_fedemb import validate
from dp_fedemb.data.images import decoding

# All of them average over the source pixels when they shrink (antialiasing).
RESAMPLING = {
    'box': Image.Resampling.BOX,
    'bilinear': Image.Resampling.BILINEAR,
    'bicubic': Image.Resampling.BICUBIC,
    'lanczos': Image.Resampling.LANCZOS,
}


def _stretch(
    image: Image.Image, size: int, resampling: Image.Resampling, background: tuple[int, ...]
) -> Image.Image:
    del background
    return image.resize((size, size), resampling)


def _pad(
    image: Image.Image, size: int, resampling: Image.Resampling, background: tuple[int, ...]
) -> Image.Image:
    """Keeps the proportions; bars on two sides."""
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    square = Image.new(image.mode, (size, size), background)
    corner = ((size - width) // 2, (size - height) // 2)
    square.paste(image.resize((width, height), resampling), corner)
    return square


def _crop(
    image: Image.Image, size: int, resampling: Image.Resampling, background: tuple[int, ...]
) -> Image.Image:
    """Keeps the proportions and the centre."""
    del background
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), resampling, box=box)


FITS = {'stretch': _stretch, 'pad': _pad, 'crop': _crop}


# By channels: as levels are stored, without the profile of a device.
_COLOURS = {1: 'grey by ITU-R 601', 3: 'RGB'}


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What happens to every image before it is stored.

    Attributes:
        image_size: side of the stored square, pixels.
        channels: 1 (grey) or 3 (RGB).
        fit: how other proportions become a square: 'stretch', 'pad' or 'crop'.
        resampling: a name in `RESAMPLING`.
        invert: whether dark becomes bright, for ink = 255 from ink = 0.
        background: grey level, before inversion, of padding and of what lies behind
            transparent pixels.
        centre: fraction of the width and of the height that is kept, around the
            centre, before anything else; 1 keeps all.
        max_pixels: pictures of more are refused before they are decoded.
    """

    image_size: int
    channels: int = 3
    fit: str = 'crop'
    resampling: str = 'bilinear'
    invert: bool = False
    background: int = 0
    centre: float = 1.0
    max_pixels: int = decoding.MAX_PIXELS

    def __post_init__(self) -> None:
        validate.whole('[1, 16384]', image_size=self.image_size)
        validate.whole('[1, 1e12]', max_pixels=self.max_pixels)
        validate.one_of('channels', self.channels, (1, 3))
        validate.one_of('fit', self.fit, FITS)
        validate.one_of('resampling', self.resampling, RESAMPLING)
        if not 0 < self.centre <= 1:
            raise ValueError(f'centre={self.centre}: expected a fraction in (0, 1]')

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the result."""
        return (self.image_size, self.image_size, self.channels)

    def record(self) -> dict[str, Any]:
        """Returns what decides the result, as JSON values; see `of_record`."""
        values = dataclasses.asdict(self)
        del values['max_pixels']
        return {**values, 'colour': _COLOURS[self.channels]}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> 'Preprocessing':
        """Returns the preprocessing that a record speaks of.

        Raises:
            ValueError: for values that it cannot have, or names unknown here: what they
                ask for could not be done.
        """
        values = dict(record)
        colour = values.pop('colour', None)
        known = {field.name for field in dataclasses.fields(cls)}
        if set(values) - known:
            names = ', '.join(sorted(set(values) - known))
            raise ValueError(f'{names}: unknown here; use the release that wrote it')
        made = cls(**values)
        if colour not in (None, _COLOURS[made.channels]):
            raise ValueError(f'colour={colour!r}: expected {_COLOURS[made.channels]!r}')
        return made

    def __call__(
        self,
        image: Union[np.ndarray, bytes, BinaryIO, os.PathLike],
        on_several: Callable[[], None] = lambda: None,
    ) -> np.ndarray:
        """Returns uint8 [image_size, image_size, channels].

        Args:
            image: pixels, an encoded image or the path of one; see `decoding.decode`.
            on_several: called where it has further frames or pages.

        Raises:
            decoding.BrokenPicture: for what cannot be decoded.
        """
        # JPEG decodes at a fraction of its size, much faster, if told in time.
        least = round(2 * self.image_size / self.centre)
        picture = decoding.decode(image, self.background, least, self.max_pixels, on_several)
        picture = picture.convert('L' if self.channels == 1 else 'RGB')
        background = (self.background,) * self.channels
        if self.centre < 1:
            picture = _central(picture, self.centre)
        if self.invert:
            picture = Image.fromarray(255 - np.asarray(picture))
            background = tuple(255 - level for level in background)
        if picture.size != (self.image_size, self.image_size):
            fit, resampling = FITS[self.fit], RESAMPLING[self.resampling]
            picture = fit(picture, self.image_size, resampling, background)
        return np.asarray(picture, np.uint8).reshape(self.image_shape)


def of_source(source: Any) -> Optional[Preprocessing]:
    """Returns how the images of a store were made from pictures; None if it does not say.

    Args:
        source: what the store was made from, its `meta['source']`.
    """
    record = source.get('preprocessing') if isinstance(source, Mapping) else None
    if not isinstance(record, Mapping):
        return None
    try:
        return Preprocessing.of_record(record)
    # Somebody's own store may use the word for something else.
    except (ValueError, TypeError):
        return None


def _central(image: Image.Image, fraction: float) -> Image.Image:
    width, height = image.size
    left, top = (round(side * (1 - fraction) / 2) for side in (width, height))
    return image.crop((left, top, width - left, height - top))

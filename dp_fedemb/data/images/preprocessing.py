"""From images of any size and mode to the fixed uint8 shape of a store."""

import dataclasses
import io
import os
from typing import Union

import numpy as np
from PIL import Image
from PIL import ImageOps

from dp_fedemb import validate

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
    """

    image_size: int
    channels: int = 3
    fit: str = 'crop'
    resampling: str = 'bilinear'
    invert: bool = False
    background: int = 0
    centre: float = 1.0

    def __post_init__(self) -> None:
        validate.positive(image_size=self.image_size)
        validate.one_of('channels', self.channels, (1, 3))
        validate.one_of('fit', self.fit, FITS)
        validate.one_of('resampling', self.resampling, RESAMPLING)
        if not 0 < self.centre <= 1:
            raise ValueError(f'centre={self.centre}: expected a fraction in (0, 1]')

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the result."""
        return (self.image_size, self.image_size, self.channels)

    def __call__(self, image: Union[np.ndarray, bytes, os.PathLike]) -> np.ndarray:
        """Returns uint8 [image_size, image_size, channels].

        Args:
            image: uint8 [h, w], [h, w, 1] or [h, w, 3], or an encoded image, or the
                path of one, in any format and mode that Pillow reads. Photographs
                are turned upright by their EXIF orientation.

        Raises:
            OSError, SyntaxError, ValueError: what Pillow raises for broken images.
        """
        mode = 'L' if self.channels == 1 else 'RGB'
        picture = _flattened(self._open(image), self.background).convert(mode)
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

    def _open(self, image: Union[np.ndarray, bytes, os.PathLike]) -> Image.Image:
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8:
                raise ValueError(f'image of type {image.dtype}: expected uint8')
            flat = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
            return Image.fromarray(flat)
        opened = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
        # JPEG decodes at a fraction of its size, much faster, if told in time.
        least = round(2 * self.image_size / self.centre)
        opened.draft(None, (least, least))
        return ImageOps.exif_transpose(opened)


def _central(image: Image.Image, fraction: float) -> Image.Image:
    width, height = image.size
    left, top = (round(side * (1 - fraction) / 2) for side in (width, height))
    return image.crop((left, top, width - left, height - top))


def _flattened(image: Image.Image, background: int) -> Image.Image:
    """Puts what is transparent on a plain background; 16-bit greys become 8-bit."""
    if image.mode.startswith('I') or image.mode == 'F':
        levels = np.asarray(image, np.float64)
        # Only a 16-bit mode says its range; the others are taken by what they hold.
        if image.mode.startswith('I;16') or levels.max(initial=0) > 255:
            levels = levels / 257
        return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    if image.mode in ('LA', 'PA', 'RGBA', 'La', 'RGBa') or 'transparency' in image.info:
        picture = image.convert('RGBA')
        plain = Image.new('RGBA', picture.size, (background,) * 3 + (255,))
        return Image.alpha_composite(plain, picture).convert('RGB')
    return image

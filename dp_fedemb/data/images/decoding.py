"""One decoder of pictures: any format, bit depth and mode becomes 8-bit grey or RGB.

What a level means follows from the format and its depth, never from the levels that a
picture happens to hold: a dark photograph stays dark. Where the format does not say it
(32-bit and signed integers, floats beyond 0..1), the picture is refused.
"""

from collections.abc import Callable, Iterator
import contextlib
import hashlib
import io
import os
import threading
from typing import Any, BinaryIO, Optional, Union

import numpy as np
from PIL import Image
from PIL import ImageCms
from PIL import ImageOps

from dp_fedemb import files
from dp_fedemb import host_error
from dp_fedemb.data.images import formats
from dp_fedemb.data.images import jpeg
from dp_fedemb.data.images import whole

# A telephone's 200 megapixels pass; a bomb of a few kilobytes that fills the memory does not.
MAX_PIXELS = 300_000_000
# Four samples of 16 bits a pixel. A file may seem to have a terabyte and hold nothing.
MAX_BYTES = 8 * MAX_PIXELS
# Reads of one file beside its pixels; those of 300,000 parts pass. Some formats (QOI, PPM other
# than of 8 bits, BMP of runs) are read pixel by pixel, of which so many take up to a minute.
_MOST_STEPS, _MOST_PIXEL_STEPS = 2_000_000, 16_000_000
_BLOCK = 1 << 20
# Of decoded ones no two are made at once: cores are many, and memory is not.
_LARGE_PIXELS = 1 << 26
# Of what is turned into 8 bits, or loses its transparency, so many at a time: several copies
# of a band and not of the picture.
_BAND_PIXELS = 1 << 22
_ONE_LARGE = threading.Lock()
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_SAMPLES = 258, 262, 339
_SIGNED = 2
_CONVERT = 'convert it to 8 or 16 bits'
# A photograph with what a camera adds, as a map of its brightness: no further page.
_PHOTOGRAPH = 'MPO'


class BrokenPicture(OSError, ValueError):
    """A picture that cannot be decoded, or whose levels cannot be told."""


def decode(
    image: Union[np.ndarray, bytes, BinaryIO, 'os.PathLike[str]'],
    background: int = 0,
    least: int = 0,
    max_pixels: int = MAX_PIXELS,
    on_several: Callable[[], None] = lambda: None,
) -> Image.Image:
    """Decodes a picture; of an animation or of many pages the first.

    Args:
        image: an encoded picture, the path of one or what `opened` gives, turned upright by
            its EXIF orientation; or pixels [h, w] or [h, w, 1 to 4], of type uint8, uint16,
            bool, or float in 0..1.
        background: grey level behind transparent pixels.
        least: side in pixels that is enough: JPEG decodes at a fraction of its size, much
            faster, if told in time.
        max_pixels: pictures of more are refused before they are decoded.
        on_several: called where there are further frames or pages.

    Returns:
        A picture of mode L or RGB.

    Raises:
        BrokenPicture: for a picture that is damaged, too large, or of unknown levels.
        OSError: where the system, and not the picture, is at fault (no file handles, a disk
            that does not answer).
    """
    try:
        if isinstance(image, np.ndarray):
            return _flattened(_of_array(image), background)
        if isinstance(image, bytes):
            return _decoded(io.BytesIO(image), background, least, max_pixels, on_several)
        if isinstance(image, (str, os.PathLike)):
            with _regular_file(image) as file:
                return _decoded(file, background, least, max_pixels, on_several)
        return _decoded(image, background, least, max_pixels, on_several)
    except BrokenPicture:
        raise
    # Damaged files make decoders raise nearly anything.
    except Exception as error:
        if host_error.of_the_host(error):
            raise
        reason = ' '.join(str(error).split())
        # The buffer's address and the path say nothing to the reader.
        if isinstance(error, Image.UnidentifiedImageError):
            reason = 'no picture of a known format'
        if isinstance(error, MemoryError):
            reason = 'takes more memory than there is'
        raise BrokenPicture(reason or type(error).__name__) from error


@contextlib.contextmanager
def opened(path: 'os.PathLike[str]') -> Iterator[tuple[BinaryIO, str]]:
    """Opens a picture's file for `decode`, and gives a hash of its content with it.

    Raises:
        BrokenPicture: for what is no file, or empty, as those by which the kernel speaks
            seem to be, some of which would never end.
        OSError: if it is not there, or cannot be read.
    """
    with _regular_file(path) as file:
        digest = hashlib.blake2b(digest_size=16)
        # Of one that is being written, what there was: it might never end.
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (block := file.read(min(left, _BLOCK))):
            digest.update(block)
            left -= len(block)
        file.seek(0)
        yield file, digest.hexdigest()


def _regular_file(path: 'os.PathLike[str]') -> BinaryIO:
    """Opens a file that is not empty, nor larger than any picture."""
    try:
        file = files.open_file(path)
    except files.NoFileError:
        raise BrokenPicture('not a file') from None
    size = os.fstat(file.fileno()).st_size
    if 0 < size <= MAX_BYTES:
        return file
    file.close()
    if not size:
        raise BrokenPicture('an empty file')
    raise BrokenPicture(f'a file of {size:,} bytes, more than pictures have ({MAX_BYTES:,})')


class _Patient:
    """A file that is not read without end: some decoders look for a part byte by byte."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._steps = _MOST_STEPS

    def allow(self, pixels: int) -> None:
        """Lets the pixels be read one by one, too, if they are not too many for that."""
        self._steps = _MOST_STEPS + min(pixels, _MOST_PIXEL_STEPS)

    def read(self, size: int = -1) -> bytes:
        self._steps -= 1
        if self._steps < 0:
            raise BrokenPicture('its parts have no end, or are too many')
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _decoded(
    content: BinaryIO,
    background: int,
    least: int,
    max_pixels: int,
    on_several: Callable[[], None],
) -> Image.Image:
    # Pillow has a lower limit of its own, which knows no flag.
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels
    file: Any = _Patient(content)
    jpeg.check_header(file)
    with Image.open(file, formats=formats.readable()) as opened:
        width, height = opened.size
        if width * height > max_pixels:
            raise BrokenPicture(
                f'{width} x {height} pixels, more than max_pixels={max_pixels:,}'
            )
        file.allow(width * height)
        if least:
            opened.draft(None, (least, least))
        large = opened.size[0] * opened.size[1] >= _LARGE_PIXELS
        alone: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        with _ONE_LARGE if large else alone:
            picture = _loaded(whole.loaded(file, opened, width * height), background)
        if opened.format != _PHOTOGRAPH:
            # What follows the first may be damaged, and is not needed.
            with contextlib.suppress(Exception):
                if getattr(opened, 'is_animated', False):
                    on_several()
    return picture


def _loaded(opened: Any, background: int) -> Image.Image:
    tags = getattr(opened, 'tag_v2', {})
    levels = _grey_range(opened.format, opened.mode, tags)
    transparent = opened.info.get('transparency')
    ImageOps.exif_transpose(opened, in_place=True)
    if levels is None:
        return _flattened(opened, background)
    inverted = tags.get(_TIFF_PHOTOMETRIC) == 0
    bands = []
    for band in _bands(opened):
        pixels = np.asarray(band)
        grey = _eight_bit(pixels, levels)
        if inverted:
            grey = 255 - grey
        if isinstance(transparent, int):
            grey = np.where(pixels == transparent, np.uint8(background), grey)
        bands.append(grey)
    return Image.fromarray(np.concatenate(bands))


def _bands(picture: Image.Image) -> Iterator[Image.Image]:
    """Yields a picture in parts, from top to bottom."""
    width, height = picture.size
    rows = max(_BAND_PIXELS // width, 1)
    for top in range(0, height, rows):
        yield picture.crop((0, top, width, min(top + rows, height)))


def _grey_range(kind: Optional[str], mode: str, tags: Any) -> Optional[float]:
    """Level of white of a grey picture deeper than 8 bits; None for 8-bit modes."""
    samples = tags.get(_TIFF_SAMPLES, (1,))
    if _SIGNED in (samples if isinstance(samples, tuple) else (samples,)):
        raise BrokenPicture(f'signed levels, of which none is known to be white; {_CONVERT}')
    if mode == 'F':
        return 1.0
    if mode.startswith('I;16'):
        bits = tags.get(_TIFF_BITS, (16,))
        return float(2 ** (bits[0] if isinstance(bits, tuple) else bits) - 1)
    if mode == 'I':
        # Pillow holds 16 bits in 32 for these, scaled to the whole range.
        if kind in ('PNG', 'PPM'):
            return 65_535.0
        raise BrokenPicture(f'32-bit levels, of which none is known to be white; {_CONVERT}')
    return None


def _eight_bit(pixels: np.ndarray, white: float) -> np.ndarray:
    """Maps levels 0..white to uint8 0..255.

    Raises:
        BrokenPicture: for levels outside: they have another meaning than was thought.
    """
    least, most = pixels.min(initial=0), pixels.max(initial=0)
    if not 0 <= least <= most <= white:
        wrong = least if not least >= 0 else most
        raise BrokenPicture(f'a level of {wrong:g}, expected 0 to {white:g}; {_CONVERT}')
    if pixels.dtype.kind == 'f':
        return np.rint(pixels * (255 / white)).astype(np.uint8)
    table = np.rint(np.arange(int(white) + 1) * (255 / white)).astype(np.uint8)
    return table[pixels]


def _of_array(pixels: np.ndarray) -> Image.Image:
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] not in (1, 2, 3, 4)):
        raise BrokenPicture(f'pixels {list(pixels.shape)}: expected [h, w] or [h, w, 1 to 4]')
    if not pixels.size:
        raise BrokenPicture(f'pixels {list(pixels.shape)}: expected at least one')
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    elif pixels.dtype == np.uint16:
        pixels = _eight_bit(pixels, 65_535.0)
    elif pixels.dtype.kind == 'f':
        try:
            pixels = _eight_bit(pixels, 1.0)
        except BrokenPicture as error:
            raise BrokenPicture(
                f'image of type {pixels.dtype}: expected uint8; {error}'
            ) from None
    elif pixels.dtype != np.uint8:
        raise BrokenPicture(
            f'image of type {pixels.dtype}: expected uint8, uint16, bool, or float in 0..1'
        )
    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    return Image.fromarray(np.ascontiguousarray(flat))


def _flattened(picture: Image.Image, background: int) -> Image.Image:
    """Puts what is transparent on a plain background; the result is grey or RGB."""
    if picture.mode == 'LAB':
        lab, srgb = ImageCms.createProfile('LAB'), ImageCms.createProfile('sRGB')
        turned = ImageCms.profileToProfile(picture, lab, srgb, outputMode='RGB')
        assert turned is not None  # Which it is in place alone.
        return turned
    if picture.mode in ('LA', 'PA', 'RGBA', 'La', 'RGBa') or 'transparency' in picture.info:
        found = Image.new('RGB', picture.size)
        top = 0
        for band in _bands(picture):
            found.paste(_opaque(band, background), (0, top))
            top += band.height
        return found
    return picture.convert('L' if picture.mode in ('1', 'L') else 'RGB')


def _opaque(picture: Image.Image, background: int) -> Image.Image:
    # Premultiplied modes turn into no other but their plain one.
    plain_mode = {'La': 'LA', 'RGBa': 'RGBA'}.get(picture.mode, picture.mode)
    above = picture.convert(plain_mode).convert('RGBA')
    plain = Image.new('RGBA', picture.size, (background,) * 3 + (255,))
    return Image.alpha_composite(plain, above).convert('RGB')

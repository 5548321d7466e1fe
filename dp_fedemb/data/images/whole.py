"""Whether pictures have all the data that their headers promise.

Of most formats the decoder says so; of some it leaves the rest grey or black in silence.
"""

from collections.abc import Iterator
import io
import itertools
from typing import Any, BinaryIO
import zlib

from dp_fedemb.data.images import jpeg

_EARLY = 'its data end early'
_PIECE = 1 << 16
# Of a PNG's colour type: samples of a pixel.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# First pixel and step, across and down, of each pass of an interlaced PNG.
_PASSES = (
    (0, 8, 0, 8),
    (4, 8, 0, 8),
    (0, 4, 4, 8),
    (2, 4, 0, 4),
    (0, 2, 2, 4),
    (1, 2, 0, 2),
    (0, 1, 1, 2),
)
# Tags of TIFF, and the compression of new-style JPEG.
_COMPRESSION, _TABLES, _JPEG_IN_TIFF = 259, 347, 7
_PARTS = ((273, 279), (324, 325))


def loaded(file: BinaryIO, opened: Any, pixels: int) -> Any:
    """Returns an opened picture of which nothing is missing, perhaps decoded already.

    Args:
        file: that it was opened from; left where it is.
        opened: by Pillow.
        pixels: of the picture, before it was asked for a smaller one.

    Raises:
        ValueError: for one whose data end before its last pixel.
    """
    place = file.tell()
    picture = opened
    if opened.format in ('JPEG', 'MPO'):
        picture = jpeg.loaded(file, opened, pixels)
    elif opened.format == 'PNG':
        _check_png(file)
    elif opened.format == 'TIFF' and opened.tag_v2.get(_COMPRESSION) == _JPEG_IN_TIFF:
        for part in _parts_of_tiff(file, opened):
            jpeg.check(part)
    file.seek(place)
    return picture


def _check_png(file: BinaryIO) -> None:
    """Raises ValueError for rows that are missing."""
    file.seek(8)
    head = file.read(25)
    if len(head) < 25 or head[4:8] != b'IHDR':
        return
    width, height = (int.from_bytes(head[at : at + 4], 'big') for at in (8, 12))
    bits = head[16] * _SAMPLES.get(head[17], 0)
    passes = _PASSES if head[20] else ((0, 1, 0, 1),)
    missing = 0
    for left, across, top, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            missing += rows * (1 + -(-columns * bits // 8))
    inflate = zlib.decompressobj()
    for piece in _compressed(file):
        while piece and missing > 0:
            missing -= len(inflate.decompress(piece, _PIECE))
            piece = inflate.unconsumed_tail
        if missing <= 0 or inflate.eof:
            break
    if missing > 0:
        raise ValueError(f'{_EARLY}: {missing:,} bytes of its rows are missing')


def _compressed(file: BinaryIO) -> Iterator[bytes]:
    """Yields the data of a PNG, after its header."""
    while len(head := file.read(8)) == 8 and head[4:].isalpha() and head[4:] != b'IEND':
        size = int.from_bytes(head[:4], 'big')
        if head[4:] != b'IDAT':
            file.seek(size + 4, io.SEEK_CUR)
            continue
        while size and (piece := file.read(min(size, _PIECE))):
            size -= len(piece)
            yield piece
        file.seek(4, io.SEEK_CUR)


def _parts_of_tiff(file: BinaryIO, opened: Any) -> Iterator[bytes]:
    """Yields the strips or tiles, each with the tables that all share, as JPEGs.

    Raises:
        ValueError: for more of them than there are bytes, one over the other.
    """
    tags = opened.tag_v2
    width, height = opened.size
    # Strips of a row each, or the smallest tiles, of up to four planes.
    most = 4 * (height + (width // 16 + 1) * (height // 16 + 1))
    left = file.seek(0, io.SEEK_END)
    tables = tags.get(_TABLES, b'')[:-2] or b'\xff\xd8'
    for where, how_long in _PARTS:
        parts = itertools.islice(zip(tags.get(where, ()), tags.get(how_long, ())), most)
        for place, size in dict.fromkeys(parts):
            left -= size
            if left < 0:
                raise ValueError('its strips or tiles overlap')
            file.seek(place)
            yield tables + file.read(size)[2:]

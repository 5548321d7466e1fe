"""JPEGs that have all the data that their headers promise.

Where they end early, at a marker, libjpeg fills what is missing with grey and warns, and
Pillow does not pass the warning on. simplejpeg does: libjpeg-turbo stops at its first one.
"""

from collections.abc import Iterator
import re
from typing import Any, BinaryIO

from PIL import Image
import simplejpeg

# What libjpeg says of coded data that are not whole (its jerror.h), and not of odd ones.
_LOSSES = re.compile(
    # Bytes too many before the end are nothing; between segments the decoder lost its way.
    'premature end|bad huffman code|bad arithmetic code|instead of rst'
    '|inconsistent progression|extraneous bytes before marker 0x(?!d9)',
    re.IGNORECASE,
)
_BEGIN, _EXIF, _MOST_EXIF, _HEADER = b'\xff\xd8', b'Exif\0\0', 100, 1 << 17
# Markers: a scan; the end; those without a length; what is for applications, and comments.
_SCAN, _END, _ALONE = 0xDA, 0xD9, (0x01, *range(0xD0, 0xD9))
_COMMENTS = (*range(0xE0, 0xF0), 0xFE)
_MARKER = re.compile(rb'\xff([\x01-\xfe])')
# Ten are common; as many as libjpeg-turbo's own programs take at most.
_MOST_SCANS = 500
# Of a file, at most: so many bytes a pixel, and of what is beside the data.
_BYTES_A_PIXEL, _BESIDE = 8, 1 << 26
# Of Pillow's modes those that the other decoder has, too.
_COLOURS = {'L': 'GRAY', 'RGB': 'RGB'}


def check_header(file: BinaryIO) -> None:
    """Refuses, before it is opened, a JPEG at whose header decoders work for hours.

    Pillow joins segments of EXIF one by one, each time all that there are.

    Args:
        file: of any format; left at its begin.

    Raises:
        ValueError: for more EXIF, or more beside the data, than any program writes.
    """
    data = file.read(2)
    if data == _BEGIN:
        data += file.read(_HEADER)
        if not _header_ends(data):
            data += file.read(_BESIDE)
            if not _header_ends(data) and len(data) > _BESIDE:
                raise ValueError(f'more than {_BESIDE:,} bytes before its data')
    file.seek(0)


def _header_ends(data: bytes) -> bool:
    """Whether a scan begins in the first bytes of a file."""
    count = 0
    for kind, begin, _ in _segments(data):
        if kind == _SCAN:
            return True
        count += data[begin + 4 : begin + 4 + len(_EXIF)] == _EXIF
        if count > _MOST_EXIF:
            raise ValueError(f'more than {_MOST_EXIF} segments of EXIF')
    return False


def loaded(file: BinaryIO, opened: Any, pixels: int) -> Any:
    """Returns a JPEG as Pillow would load it, of what is no loss to the data.

    A progressive one that lacks its last scans is whole, but coarse.

    Args:
        file: which begins with it; left at another place.
        opened: by Pillow, and perhaps told that a fraction of its size is enough.
        pixels: of the picture, so that a file that never ends is not read to its end.

    Raises:
        ValueError: for one whose data end before its last pixel, in libjpeg's words.
    """
    width, height = opened.size
    file.seek(0)
    data = file.read(_BYTES_A_PIXEL * pixels + _BESIDE)
    found = _decoded(data, _COLOURS.get(opened.mode, 'GRAY'), height, width)
    if found is None or opened.mode not in _COLOURS or found.shape[:2] != (height, width):
        return opened
    picture = Image.fromarray(found[..., 0] if opened.mode == 'L' else found)
    picture.info = opened.info
    return picture


def check(data: bytes) -> None:
    """Raises ValueError for data that end before the last pixel."""
    _decoded(data, 'GRAY', 1, 1)


def _decoded(data: bytes, colours: str, height: int, width: int) -> Any:
    """Returns pixels of at least this size, None for a kind that simplejpeg does not know."""
    _check_scans(data)
    try:
        return simplejpeg.decode_jpeg(
            data, colours, min_height=height, min_width=width, strict=True
        )
    except ValueError as error:
        reason = str(error)
        if _LOSSES.search(reason):
            raise ValueError(f'its data end early, or are damaged: {reason}') from None
    # What a header says of its version, say, comes first and keeps the rest from being heard.
    plain = _without_comments(data)
    if len(plain) < len(data):
        _decoded(plain, 'GRAY', 1, 1)
    return None


def _check_scans(data: bytes) -> None:
    """Raises ValueError for more scans than any program writes.

    One of a few bytes goes over all of the picture, which a megabyte of them does for hours.
    """
    if data.count(b'\xff\xda') <= _MOST_SCANS:
        return
    # In what is for applications the two bytes may stand for anything.
    if sum(kind == _SCAN for kind, _, _ in _segments(data)) > _MOST_SCANS:
        raise ValueError(f'more than {_MOST_SCANS} scans')


def _without_comments(data: bytes) -> bytes:
    """Returns a file without what programs add to its header."""
    kept, place = [], 0
    for kind, begin, end in _segments(data):
        if kind == _SCAN:
            break
        if kind in _COMMENTS:
            kept.append(data[place:begin])
            place = end
    return b''.join([*kept, data[place:]])


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields marker, begin and end of what a JPEG consists of, up to its end marker."""
    end = 0
    while (found := _MARKER.search(data, end)) is not None and found[1][0] != _END:
        begin, end = found.span()
        if found[1][0] not in _ALONE:
            end += int.from_bytes(data[end : end + 2], 'big')
        yield found[1][0], begin, end

"""Whether a JPEG has all the data that its header promises.

Where they end early, at a marker, libjpeg fills what is missing with grey and warns, and
nobody hears it: Pillow does not pass the warning on. So libjpeg is asked by other data, since
what follows a segment of coded data that is whole is nothing to its decoding. Of a picture in
one segment the end is taken away: a decoder that is not done asks for more, which Pillow does
report, unless less than two blocks of 8 x 8 pixels are missing. Of a picture in several
(restarts, progressive scans) other bits are put before each end, and the pictures with and
without them must be the same.
"""

from collections.abc import Iterator
import dataclasses
import itertools
import re
from typing import BinaryIO, Optional

# ITU-T T.81, table B.1.
_SOI, _EOI, _SOS, _DRI = 0xD8, 0xD9, 0xDA, 0xDD
_RESTARTS = range(0xD0, 0xD8)
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3}
_PROGRESSIVE = 0xC2
# A marker, perhaps after fillers, and its code. FF and 0 is a byte of data.
_MARKER = re.compile(rb'\xff+([\x01-\xfe])')
# The same and thirty times as fast, where fillers are looked for afterwards.
_NEXT_MARKER = re.compile(rb'\xff([\x01-\xfe])')
# No Huffman code is of ones alone. As many as the decoder reads ahead.
_ONES = 8 * b'\xff\x00'
# Bits without a pattern, and no marker.
_OTHER = bytes.fromhex('5a93c4276e1bb8d5491ce6723d8fa05b96e41378cd2ab157f06938a4de1b85c2')
_END = b'\xff\xd9'
_NOTHING = bytes(64)
# Of a segment of data, at most: so many bytes a pixel, and of what is beside the data.
_BYTES_A_PIXEL, _BESIDE = 8, 1 << 24


class _Odd(Exception):
    """No file as the standard describes it; the decoder may know better."""


@dataclasses.dataclass(frozen=True)
class Proof:
    """Files that decode to one picture if, and only if, the data are whole.

    Attributes:
        plain: to be decoded.
        other: must be the same picture; None where `plain` alone tells, by an error.
        missing: what there is no scan of, '' for nothing.
    """

    plain: bytes
    other: Optional[bytes] = None
    missing: str = ''


def proof(file: BinaryIO, pixels: int) -> Optional[Proof]:
    """Returns how to ask whether a JPEG is whole; None where nobody knows.

    Args:
        file: which begins with the JPEG.
        pixels: of the picture, so that a file that never ends is not read to its end.
    """
    try:
        start = _start_of_scan(file)
        file.seek(0)
        data = file.read(start + _BYTES_A_PIXEL * pixels + _BESIDE)
        return _Reader(data).proof()
    except _Odd:
        return None
    finally:
        file.seek(0)


def _start_of_scan(file: BinaryIO) -> int:
    """Returns where the first scan begins, past any number of other segments."""
    place = 2
    while True:
        file.seek(place)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            raise _Odd
        if head[1] == 0xFF:
            place += 1
        elif head[1] == _SOS:
            return place
        else:
            place += 2 + int.from_bytes(head[2:], 'big')


class _Reader:
    """One pass over the segments of a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        # MCUs from one restart to the next; 0 for none.
        self._interval = 0
        self._size = 0, 0
        self._frame: Optional[int] = None
        self._components: dict[int, tuple[int, int]] = {}
        # Coefficients that no scan has had, by component: bits that are missing of each.
        self._missing: dict[int, list[int]] = {}

    def proof(self) -> Proof:
        """Returns how to ask.

        Raises:
            _Odd: for a file that is not as the standard says.
        """
        ends: list[int] = []
        place, scans = 2, 0
        while True:
            found = _MARKER.match(self._data, place)
            if found is None:
                break
            marker, place = found[1][0], found.end()
            if marker == _EOI:
                break
            if marker == _SOI or marker in _RESTARTS:
                continue
            size = int.from_bytes(self._data[place : place + 2], 'big')
            body = self._data[place + 2 : place + size]
            place += size
            if marker in _FRAMES:
                self._begin(marker, body)
            elif marker == _DRI:
                self._interval = int.from_bytes(body[:2], 'big')
            elif 0xC4 < marker < 0xD0 and marker not in (0xC8, 0xCC):
                # Arithmetic coding may leave its last bytes out; hierarchical frames.
                raise _Odd
            elif marker == _SOS:
                scans += 1
                components = self._take(body)
                parts = list(self._ends(place))
                # Zeros are codes, too: of a file that has its size and not its content.
                if parts[-1] == len(self._data) and self._data.endswith(_NOTHING):
                    return Proof(self._data, missing='zeros stand in their place')
                if self._is_alone(components):
                    return Proof(self._data[: parts[0]] + _ONES)
                if self._interval and len(parts) * self._interval < self._units(components):
                    return Proof(self._data, missing='segments are missing')
                ends += parts
                place = parts[-1]
        if not scans:
            raise _Odd
        pieces = [self._data[a:b] for a, b in zip([0, *ends], [*ends, None])]
        closing = b'' if ends[-1] < len(self._data) else _END
        return Proof(self._data + closing, _OTHER.join(pieces) + closing, self._lacking())

    def _begin(self, marker: int, body: bytes) -> None:
        if self._frame is not None or len(body) < 6:
            raise _Odd
        self._frame = marker
        height, width = (int.from_bytes(body[at : at + 2], 'big') for at in (1, 3))
        self._size = width, height
        # Component -> samples of it side by side and on top of each other in an MCU.
        self._components = {
            name: (factors >> 4, factors & 15)
            for name, factors in itertools.islice(zip(body[6::3], body[7::3]), body[5])
        }
        self._missing = {component: [99] * 64 for component in self._components}

    def _take(self, body: bytes) -> tuple[int, ...]:
        """Notes what a scan has, and returns its components."""
        count = body[0] if body else 0
        if self._frame is None or len(body) < 4 + 2 * count:
            raise _Odd
        components = tuple(body[1 : 1 + 2 * count : 2])
        first, last, low = body[-3], body[-2], body[-1] & 15
        if self._frame != _PROGRESSIVE:
            first, last, low = 0, 63, 0
        for component in components:
            if component not in self._missing:
                raise _Odd
            for index in range(first, min(last, 63) + 1):
                self._missing[component][index] = low
        return components

    def _ends(self, place: int) -> Iterator[int]:
        """Yields where the segments of a scan's data end."""
        for found in _NEXT_MARKER.finditer(self._data, place):
            end = found.start()
            while end > place and self._data[end - 1] == 0xFF:
                end -= 1
            yield end
            if not (self._interval and found[1][0] in _RESTARTS):
                return
        yield len(self._data)

    def _is_alone(self, components: tuple[int, ...]) -> bool:
        """Whether all of the picture is in one segment."""
        whole = self._frame != _PROGRESSIVE and components == tuple(self._components)
        return whole and not self._interval

    def _units(self, components: tuple[int, ...]) -> int:
        """Returns the number of MCUs of a scan (A.2 of the standard)."""
        count = 1
        for side, factors in zip(self._size, zip(*self._components.values())):
            samples, most = side, max(factors)
            if len(components) == 1:
                # A block each, of those that the component has.
                own = factors[list(self._components).index(components[0])]
                samples, most = -(-side * own // most), 1
            count *= -(-samples // (8 * most)) if most else 0
        return count

    def _lacking(self) -> str:
        bits = [bits for component in self._missing.values() for bits in component]
        return 'scans are missing' if any(bits) else ''

"""Reads pictures on all cores, and keeps a list of those that cannot be read."""

from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
import itertools
import lzma
import tarfile
from typing import Optional, TypeVar
import zipfile
import zlib

from dp_fedemb import environment
from dp_fedemb import host_error
from dp_fedemb import tables
from dp_fedemb.data import names as names_lib

_Item = TypeVar('_Item')
_Result = TypeVar('_Result')
_BLOCK = 256
_SHOWN = 3
# What archives raise for damaged members; decoders raise `decoding.BrokenPicture`, a
# ValueError, whatever it was. A programming error is no broken picture and stops the work.
_BROKEN = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    MemoryError,
    OverflowError,
    RuntimeError,
    lzma.LZMAError,
    zlib.error,
    zipfile.BadZipFile,
    tarfile.TarError,
)


def decoded(
    items: Iterable[_Item], read: Callable[[_Item], _Result], block: int = _BLOCK
) -> Iterator[list[tuple[_Item, Optional[_Result], str]]]:
    """Reads items in their order.

    Args:
        items: pictures, wherever they are.
        read: returns the pixels of one, or what it made of them; called in threads.
        block: items in memory at once.

    Yields:
        Blocks of (item, pixels, ''), or (item, None, reason) for a damaged picture.
    """

    def attempt(item: _Item) -> tuple[_Item, Optional[_Result], str]:
        try:
            return item, read(item), ''
        except _BROKEN as error:
            # No fault of the picture: every other one would seem broken, too.
            if host_error.of_the_host(error):
                raise
            return item, None, ' '.join(str(error).split()) or type(error).__name__

    remaining = iter(items)
    with futures.ThreadPoolExecutor(environment.usable_cores()) as pool:
        while pending := list(itertools.islice(remaining, block)):
            yield list(pool.map(attempt, pending))


def several_frames(names: Iterable[str]) -> list[str]:
    """Returns a note, or none, on pictures of which only the first frame or page is taken."""
    found = sorted(names)
    if not found:
        return []
    shown = names_lib.shortened(found, _SHOWN)
    return [
        f'{len(found):,} pictures have further frames or pages, which are left out: {shown}'
    ]


class Broken:
    """The pictures that were skipped, as long as there are not too many.

    Attributes:
        lines: 'name: reason' of each.
    """

    def __init__(self, most: int):
        """Allows `most` pictures."""
        self.lines: list[str] = []
        self._most = most

    def add(self, name: str, reason: str) -> None:
        """Adds a picture.

        Raises:
            ValueError: if it is one too many.
        """
        # A name may hold what begins a line, or tells a terminal what to do.
        self.lines.append(tables.on_one_line(f'{name}: {reason}'))
        if len(self.lines) > self._most:
            more = '; ...' if len(self.lines) > _SHOWN else ''
            raise ValueError(
                f'{len(self.lines)} broken image(s), at most {self._most} are skipped:'
                f' {"; ".join(self.lines[:_SHOWN])}{more}; restore them, remove them, or raise'
                ' the limit max_broken'
            )

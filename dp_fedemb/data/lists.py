"""Text files that people write: any common encoding, any end of line."""

import codecs
from collections.abc import Collection
import os
import pathlib
from typing import Optional, Union

from dp_fedemb.data import names as names_lib

# By the marks that editors put first; the longer ones before what they begin with.
_MARKS = (
    (codecs.BOM_UTF8, 'utf-8'),
    (codecs.BOM_UTF32_LE, 'utf-32-le'),
    (codecs.BOM_UTF32_BE, 'utf-32-be'),
    (codecs.BOM_UTF16_LE, 'utf-16-le'),
    (codecs.BOM_UTF16_BE, 'utf-16-be'),
)
# Tried where no mark says it and the text is no UTF-8: of Windows, Macs, and of regions.
_OTHERS = (
    'cp1252',
    'mac-roman',
    'latin-1',
    'cp1250',
    'cp1251',
    'cp1253',
    'cp1254',
    'cp437',
    'shift-jis',
    'euc-jp',
    'gb18030',
    'big5',
    'euc-kr',
    'koi8-r',
)
_MOST_BYTES = 1 << 28


def read_lines(
    path: Union[str, 'os.PathLike[str]'], known: Optional[Collection[str]] = None
) -> list[str]:
    """Reads the lines of a text file, without their ends.

    Args:
        path: of a file in UTF-8, UTF-16 or UTF-32, with or without a mark, or in an older
            encoding of one region.
        known: names, one of which follows the first word of a line. Of the older
            encodings the one is taken under which the most lines have one, for nothing in
            the file says which it is.

    Raises:
        FileNotFoundError, OSError: if it cannot be read.
        ValueError: if it is no text, or too large to be a list.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such file')
    if not path.is_file():
        raise ValueError(f'{path}: expected a text file')
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f'{path}: {path.stat().st_size:,} bytes, which is no list')
    return lines_of(path.read_bytes(), path, known)


def lines_of(
    content: bytes,
    path: Union[str, 'os.PathLike[str]'],
    known: Optional[Collection[str]] = None,
) -> list[str]:
    """Returns the lines of a text file's content; see `read_lines`.

    Raises:
        ValueError: if it is no text; the message names `path`.
    """
    text = _decoded(content, known or ())
    if text is None or '\0' in text:
        raise ValueError(f'{path}: no text in a known encoding; save it as UTF-8')
    # Not `splitlines`: it also parts at marks that names may hold.
    return text.replace('\r\n', '\n').replace('\r', '\n').removesuffix('\n').split('\n')


def _decoded(content: bytes, known: Collection[str]) -> Optional[str]:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _attempt(content.removeprefix(mark), encoding)
    if content.count(0) > len(content) // 8:
        # Every other byte of Latin text in UTF-16 is zero, and text in UTF-8 has none.
        encoding = (
            'utf-16-le' if content[1::2].count(0) > content[::2].count(0) else 'utf-16-be'
        )
        return _attempt(content, encoding)
    text = _attempt(content, 'utf-8')
    if text is not None:
        return text
    # Names of files need not be text: as the system itself gives them.
    as_bytes = content.decode('utf-8', 'surrogateescape')
    candidates = [as_bytes, *(_attempt(content, encoding) for encoding in _OTHERS)]
    texts = [text for text in candidates if text is not None]
    found = max(texts, key=lambda text: _agreement(text, known))
    return found if _agreement(found, known) else _attempt(content, 'cp1252')


def _attempt(content: bytes, encoding: str) -> Optional[str]:
    try:
        return content.decode(encoding)
    except UnicodeError:
        return None


def _agreement(text: str, known: Collection[str]) -> int:
    """How many lines end, after their first word, in a known name that is not ASCII."""
    unusual = {name for name in known if not name.isascii()}
    lines = {line.strip() for line in names_lib.normal(text).split('\n')}
    return sum(line.split(None, 1)[-1] in unusual for line in lines if line)

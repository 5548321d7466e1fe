"""Tables of text for people at a terminal."""

from collections.abc import Iterable, Sequence
from typing import Any


def text(rows: Iterable[Sequence[Any]], align: str = '', indent: int = 0) -> str:
    """Returns rows as lines whose columns are as wide as their widest entry.

    >>> print(text([('what', 'ms'), ('noise', 25), ('a whole round', 2610)], 'lr'))
    what             ms
    noise            25
    a whole round  2610

    Args:
        rows: each of one entry a column, shorter ones at the end of which nothing
            stands; what is no text is written as `str` does.
        align: a letter a column, `l` or `r`; the last one also for all that follow,
            `l` where there is none.
        indent: spaces before every line.
    """
    lines = [[on_one_line(str(entry)) for entry in row] for row in rows]
    count = max(map(len, lines), default=0)
    widths = [max(len(line[i]) for line in lines if i < len(line)) for i in range(count)]
    sides = (align or 'l').ljust(count, (align or 'l')[-1])
    return '\n'.join(
        ' ' * indent
        + '  '.join(
            entry.rjust(width) if side == 'r' else entry.ljust(width)
            for entry, width, side in zip(line, widths, sides)
        ).rstrip()
        for line in lines
    )


def on_one_line(text: str) -> str:
    """Returns a text of any length as one line of valid characters, none of which is a command.

    >>> on_one_line('a\\x1b[31mb')
    'a\\\\x1b[31mb'
    """
    valid = text.encode(errors='backslashreplace').decode()
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in valid)

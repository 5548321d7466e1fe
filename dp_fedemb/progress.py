"""The progress bar of conversions, and what is said above one."""

from collections.abc import Iterable, Iterator
import sys
from typing import Optional, TypeVar

import tqdm

_Item = TypeVar('_Item')


def bar(total: Optional[int], description: str, unit: str) -> tqdm.tqdm:
    """Returns a progress bar on standard error; a line each half minute in a log.

    Args:
        total: number of units; None if not known.
        description: what is done.
        unit: of what; 'B' for bytes.
    """
    terminal = sys.stderr.isatty()
    return tqdm.tqdm(
        total=total,
        desc=description,
        unit=unit,
        unit_scale=unit == 'B',
        leave=not terminal,
        mininterval=0.2 if terminal else 30,
    )


def each(
    items: Iterable[_Item], total: Optional[int], description: str, unit: str
) -> Iterator[_Item]:
    """Yields the items under a progress bar; see `bar`."""
    with bar(total, description, unit) as shown:
        for item in items:
            yield item
            shown.update()


def say(text: str) -> None:
    """Prints a line on standard error, above the bar of what is at work."""
    tqdm.tqdm.write(f'  {text}', file=sys.stderr)

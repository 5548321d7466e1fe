"""One run as flags of a program: its command, and the record that it leaves."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import pathlib
import re
from typing import Any, Union

# Of flags; a list is a flag that is given several times.
Value = Union[str, int, float, bool, Sequence[str]]
_NAME = re.compile(r'[^A-Za-z0-9.=+-]+')


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a table, or one trial of a search.

    Attributes:
        name: of its files; no other cell of the table has it.
        program: what runs, a file of bin/ without its ending.
        flags: of the program, without directories of this machine.
        shown: columns of the table that tell the cell from others, by heading.
        command: of the program, where it has several.
        base: arguments before the flags, which may set them otherwise.
    """

    name: str
    program: str
    flags: Mapping[str, Value]
    shown: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    command: str = ''
    base: Sequence[str] = ()

    def arguments(self) -> list[str]:
        """Returns the program's arguments."""
        words = [*([self.command] if self.command else []), *self.base]
        for name, value in self.flags.items():
            several = value if isinstance(value, (list, tuple)) else [value]
            words += [f'--{name}={_text(each)}' for each in several]
        return words

    def to_json(self) -> dict[str, Any]:
        """Returns what decides what the cell computes, as JSON values."""
        flags = {name: _plain(value) for name, value in self.flags.items()}
        found = {'program': self.program, 'command': self.command, 'flags': flags}
        return found | ({'base': list(self.base)} if self.base else {})


def name_of(parts: Iterable[Any]) -> str:
    """Returns a file name of what tells a cell from others.

    >>> name_of(['DP-FedEmb, as published', 'z=0.5', 1])
    'DP-FedEmb_as_published_z=0.5_1'
    """
    return '_'.join(_NAME.sub('_', str(part)).strip('_') for part in parts if part != '')


def check_different(cells: Sequence[Cell]) -> None:
    """Refuses cells that repeat one another.

    Raises:
        ValueError: in one line, naming both.
    """
    names: set[str] = set()
    contents: dict[str, str] = {}
    for cell in cells:
        content = repr((cell.program, sorted(cell.arguments())))
        if content in contents:
            raise ValueError(
                f'cells {contents[content]!r} and {cell.name!r} are the same run: leave one of'
                ' them out of the grid'
            )
        if cell.name in names:
            raise ValueError(f'cell {cell.name!r} is there twice; name one of them otherwise')
        contents[content] = cell.name
        names.add(cell.name)


def without_paths(value: Any, places: Mapping[str, pathlib.Path]) -> Any:
    """Returns JSON values with words in place of directories of this machine.

    Args:
        value: to be published.
        places: word -> directory.
    """
    if isinstance(value, Mapping):
        return {name: without_paths(each, places) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_paths(each, places) for each in value]
    if isinstance(value, str):
        for word, path in sorted(places.items(), key=lambda item: -len(str(item[1]))):
            value = value.replace(str(path), word)
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value

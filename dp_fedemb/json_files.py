"""JSON as every file and output here has it: no NaN, no infinity, and whole or not at all.

Neither is JSON: readers of other languages refuse the whole file for one of them. They stand
as null, which says the same of a figure: that it is not there, or without a bound.
"""

from collections.abc import Iterator, Mapping
import contextlib
import json
import math
import pathlib
from typing import Any

import numpy as np

from dp_fedemb import files


def write(path: files.PathLike, value: Any, mode: int = 0o644) -> None:
    """Writes a file of JSON in one step.

    Args:
        path: where; what is there is replaced.
        value: see `text`.
        mode: permissions; 0o600 for secrets.
    """
    files.write_text(path, text(value) + '\n', mode)


def read(path: files.PathLike, way_out: str) -> 'dict[str, Any]':
    """Returns the object of a JSON file.

    Args:
        path: where.
        way_out: what to do about a damaged file, for the message.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: in one line, for anything but a file with an object of JSON.
    """
    path = pathlib.Path(path)
    try:
        content = files.read_bytes(path)
    except files.NoFileError:
        raise ValueError(f'{path}: is no file; {way_out}') from None
    with whole(path, way_out):
        value = json.loads(content.decode('utf-8'))
        if not isinstance(value, dict):
            raise ValueError(f'a {type(value).__name__} where an object was written')
        return value


@contextlib.contextmanager
def whole(path: files.PathLike, way_out: str) -> Iterator[None]:
    """Names a file, in one line, where what it says is not what was written.

    Args:
        path: that the block takes values from.
        way_out: as in `read`.

    Raises:
        ValueError: for what a block raises that meets other names, types or numbers.
    """
    try:
        yield
    except (
        *(ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError),
        RecursionError,
    ) as error:
        reason = ' '.join(str(error).split())
        if not isinstance(error, ValueError):
            reason = f'{type(error).__name__}: {reason}'
        raise ValueError(f'{path}: damaged ({reason}); {way_out}') from None


def text(value: Any, indent: 'int | None' = 2) -> str:
    """Returns a value as JSON; what JSON has no form for, such as a path, as its text.

    Args:
        value: nested mappings and sequences; numbers that are not finite become null.
        indent: of each level; None for a single line.
    """
    return json.dumps(finite(value), indent=indent, allow_nan=False, default=str)


def finite(value: Any) -> Any:
    """Returns the value with None for every number in it that is not finite.

    NumPy's numbers become Python's, which JSON has a form for.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return value

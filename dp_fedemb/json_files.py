"""JSON as every file and output here has it: no NaN, no infinity, and whole or not at all.

Neither is JSON: readers of other languages refuse the whole file for one of them. They stand
as null, which says the same of a figure: that it is not there, or without a bound.
"""

from collections.abc import Mapping
import json
import math
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

"""Argument checks whose messages name the argument, its value and the remedy."""

from collections.abc import Callable, Iterable
import math
from typing import Any


def _holds(test: Callable[[Any], bool], value: Any) -> bool:
    """Whether the test holds; it does not for what cannot be compared with numbers."""
    try:
        return bool(test(value))
    except TypeError:
        return False


def positive(**values: Any) -> None:
    """Raises ValueError for the first keyword whose value is not > 0."""
    for name, value in values.items():
        if not _holds(lambda number: number > 0, value):
            raise ValueError(f'{name}={value!r}: expected a number above 0')


def finite(**values: Any) -> None:
    """Raises ValueError for the first keyword whose value is infinite or not a number."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f'{name}={value!r}: expected a finite number')


def non_negative(**values: Any) -> None:
    """Raises ValueError for the first keyword whose value is not >= 0."""
    for name, value in values.items():
        if not _holds(lambda number: number >= 0, value):
            raise ValueError(f'{name}={value!r}: expected a number of at least 0')


def probability(**values: Any) -> None:
    """Raises ValueError for the first keyword whose value is not in [0, 1]."""
    for name, value in values.items():
        if not _holds(lambda number: 0 <= number <= 1, value):
            raise ValueError(f'{name}={value!r}: expected a probability in [0, 1]')


def one_of(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raises ValueError if `value` is not among `choices`."""
    choices = list(choices)
    if value not in choices:
        listed = ', '.join(str(choice) for choice in choices)
        raise ValueError(f'{name}={value!r}: expected one of {listed}')

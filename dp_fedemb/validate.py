"""Argument checks whose messages name the argument, its value and the remedy."""

from collections.abc import Callable, Iterable
import functools
import math
import numbers
from typing import Any
import unicodedata

# Classes of characters by which a text reads otherwise than it is.
_TURNS = ('LRE', 'RLE', 'LRO', 'RLO', 'PDF', 'LRI', 'RLI', 'FSI', 'PDI')


def _holds(test: Callable[[Any], bool], value: Any) -> bool:
    """Whether the test holds; it does not for what cannot be compared with numbers."""
    try:
        return bool(test(value))
    except (TypeError, OverflowError):
        return False


def positive(**values: Any) -> None:
    """Raises ValueError for the first keyword whose value is not > 0."""
    for name, value in values.items():
        if not _holds(lambda number: number > 0, value):
            raise ValueError(f'{name}={value!r}: expected a number above 0')


def finite(**values: Any) -> None:
    """Raises ValueError for the first keyword whose value is infinite or not a number."""
    for name, value in values.items():
        if not _holds(math.isfinite, value):
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


def within(interval: str, **values: Any) -> None:
    """Raises ValueError for the first keyword whose value is no number in the interval.

    >>> within('(0, 1e6]', rate=0.1)
    >>> within('[0, 1)', momentum=1.0)
    Traceback (most recent call last):
    ValueError: momentum=1.0: expected a number of at least 0 and below 1

    Args:
        interval: as mathematics writes it, square brackets for ends that belong to it.
        **values: by name.
    """
    holds, words = _interval(interval)
    for name, value in values.items():
        if not is_number(value) or not holds(value):
            raise ValueError(f'{name}={value!r}: expected a number {words}')


def whole(interval: str = '(-inf, inf)', **values: Any) -> None:
    """Raises ValueError for the first keyword that is no whole number in the interval."""
    holds, words = _interval(interval)
    for name, value in values.items():
        if not is_number(value) or not holds(value) or value % 1:
            raise ValueError(f'{name}={value!r}: expected a whole number {words}'.rstrip())


def text(**values: Any) -> None:
    """Raises ValueError for the first keyword that is no text, is empty or has odd characters.

    Odd are control characters, a line's end among them, characters that turn the direction
    of reading, and what is no valid Unicode: in names of files and options they are
    accidents or worse, and most that read them go wrong. Empty is what shows nothing.
    """
    for name, value in values.items():
        if not isinstance(value, str) or not any(_shows(char) for char in value):
            raise ValueError(f'{name}={value!r}: expected a text that is not empty')
        if any(_is_odd(char) for char in value):
            raise ValueError(
                f'{name}={value!r}: expected a text without line breaks, control characters'
                ' and broken Unicode'
            )


def read_number(text: str, kind: Callable[[str], Any] = float) -> Any:
    """Returns the number that a text says; Python alone reads 1_000, full-width digits or ' 1'.

    >>> read_number('1e-3')
    0.001

    Args:
        text: as somebody typed it.
        kind: int or float.

    Raises:
        ValueError: for what is no number, or none that everybody reads so.
    """
    if not text.isascii() or '_' in text or text != text.strip():
        raise ValueError(f'{text!r}: expected a number in plain digits')
    return kind(text)


def is_number(value: Any) -> bool:
    """Whether it is a real number, of Python or NumPy, and no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _shows(char: str) -> bool:
    """Whether a character is more than space, or invisible."""
    category = unicodedata.category(char)
    return category[0] != 'Z' and category not in ('Cc', 'Cf', 'Cs')


def _is_odd(char: str) -> bool:
    """Whether it is a control character, ends a line, turns the direction, or is no Unicode.

    The last is half a pair of UTF-16, as in names that are not UTF-8.
    """
    if unicodedata.category(char) in ('Cc', 'Cs', 'Zl', 'Zp'):
        return True
    return unicodedata.bidirectional(char) in _TURNS


@functools.cache
def _interval(interval: str) -> tuple[Callable[[Any], bool], str]:
    """Returns the test that a number is in an interval, and the interval in words."""
    least, most = (float(end) for end in interval[1:-1].split(','))
    open_below, open_above = interval[0] == '(', interval[-1] == ')'

    def holds(value: Any) -> bool:
        above = value > least if open_below else value >= least
        return above and (value < most if open_above else value <= most)

    words = []
    if math.isfinite(least):
        words.append(f'{"above" if open_below else "of at least"} {least:g}')
    if math.isfinite(most):
        words.append(f'{"below" if open_above else "at most"} {most:g}')
    return holds, ' and '.join(words)

"""Grids and random draws of settings, given as text or as a table of TOML."""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import math
import pathlib
import tomllib
from typing import Any, Union

import numpy as np

from dp_fedemb import validate

Settings = dict[str, Any]
# Combinations that are searched, which is days even of small runs.
MOST = 10_000


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers between two, to draw from.

    Attributes:
        low: the least.
        high: the largest.
        log: whether logarithms are spread evenly, not the numbers.
        whole: whether only whole numbers are drawn.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        validate.finite(low=self.low, high=self.high)
        if self.low > self.high:
            raise ValueError(f'low={self.low!r}: expected at most high={self.high!r}')
        if self.log:
            validate.positive(low=self.low)

    def draw(self, generator: np.random.Generator) -> Union[int, float]:
        """Returns a number; of four digits, so that a flag of it is exactly it."""
        ends = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = generator.uniform(*ends)
        value = float(f'{math.exp(value) if self.log else value:.4g}')
        value = min(max(value, self.low), self.high)
        return round(value) if self.whole else value


Choices = Union[Range, Sequence[Any]]
Space = dict[str, Choices]


def read(path: Union[str, pathlib.Path]) -> Space:
    """Returns the search space of a TOML file.

    A name is that of a flag; a value is a list of values, or a table with `low` and `high`,
    and where wanted `log = true` and `whole = true`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for anything else in it.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'grid={str(path)!r}: no such file')
    try:
        found = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f'grid={str(path)!r}: not TOML ({error})') from None
    return {name: _choices(name, value) for name, value in found.items()}


def parse(texts: Sequence[str]) -> Space:
    """Returns the search space of texts like 'client_lr=0.05,0.1'.

    Raises:
        ValueError: for a text that is not one, or a name that is there twice.
    """
    space: Space = {}
    for text in texts:
        name, equals, values = text.partition('=')
        if not equals or not name or not values:
            raise ValueError(f'vary={text!r}: expected NAME=VALUE,VALUE,...')
        if name in space:
            raise ValueError(f'vary={text!r}: {name} is there twice; list its values in one')
        space[name] = _choices(name, [_number(value) for value in values.split(',')])
    return space


def grid(space: Mapping[str, Choices]) -> list[Settings]:
    """Returns every combination.

    Raises:
        ValueError: for a range, of which there is no list, or more than `MOST`.
    """
    for name, values in space.items():
        if isinstance(values, Range):
            raise ValueError(
                f'{name}: a range has no grid; list its values, or set random_trials'
            )
    count = math.prod(len(each) for each in space.values() if not isinstance(each, Range))
    if count > MOST:
        raise ValueError(
            f'{", ".join(space)}: {count:,} combinations, expected at most {MOST:,}; list fewer'
            ' values, or set random_trials'
        )
    names = list(space)
    lists = [list(values) for values in space.values() if not isinstance(values, Range)]
    return [dict(zip(names, values)) for values in itertools.product(*lists)]


def draw(space: Mapping[str, Choices], generator: np.random.Generator) -> Settings:
    """Returns a combination drawn at random, each setting independently."""
    found: Settings = {}
    for name, values in space.items():
        if isinstance(values, Range):
            found[name] = values.draw(generator)
        else:
            found[name] = values[int(generator.integers(len(values)))]
    return found


def _choices(name: str, value: Any) -> Choices:
    if isinstance(value, Mapping):
        try:
            return Range(**value)
        except TypeError:
            raise ValueError(
                f'{name}={dict(value)}: expected low and high, and maybe log and whole'
            ) from None
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from None
    if not isinstance(value, list) or not value:
        raise ValueError(f'{name}={value!r}: expected a list of values, or low and high')
    if len({str(each) for each in value}) < len(value):
        raise ValueError(f'{name}={value!r}: a value is there twice')
    return value


def _number(text: str) -> Any:
    """A number where a text is one, so that figures have an axis of numbers."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else text
    return text

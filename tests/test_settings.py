"""Settings check themselves, in the library as in the binaries."""

import dataclasses
import importlib
import math
from typing import Optional

import numpy as np
import pytest

from dp_fedemb import settings
from dp_fedemb import validate

# Where the dataclasses of settings are, none of which needs TensorFlow.
_MODULES = (
    'dp_fedemb.learning.client_config',
    'dp_fedemb.pretraining.settings',
    'dp_fedemb.privacy.mechanisms',
    'dp_fedemb.privacy.plan',
    'dp_fedemb.privacy.sampling',
    'dp_fedemb.runs.settings',
    'tasks',
)


@dataclasses.dataclass(frozen=True)
class Example:
    rate: float = settings.setting(math.inf, 'A rate.', within='(0, 1e3]')
    count: int = settings.setting(1, 'A count.', within='[1, 1e6]')
    most: Optional[int] = settings.setting(None, 'A limit.', within='[1, 1e6]')
    name: str = settings.setting('', 'A name.')
    kind: str = settings.setting('a', 'A kind.', choices=('a', 'b'))
    hosts: tuple[str, ...] = settings.setting((), 'Hosts.')
    loud: bool = settings.setting(False, 'Noise.')

    def __post_init__(self):
        settings.check(self)


def _classes():
    for module in _MODULES:
        for value in vars(importlib.import_module(module)).values():
            if dataclasses.is_dataclass(value) and isinstance(value, type):
                yield value


@pytest.mark.parametrize(
    'wrong',
    [
        {'rate': value}
        for value in (0, -1, math.nan, -math.inf, 1e308, '1', None, True, 10**400, 1j)
    ]
    + [{'count': value} for value in (0, -1, 2.5, math.nan, math.inf, '1', None, True, 10**400)]
    + [{'most': 0}, {'kind': 'c'}, {'kind': None}, {'loud': 'yes'}, {'loud': 2}]
    + [{'name': value} for value in (' ', 'a\nb', 'a\0b', '\udcff', '\x1b[1m', 3, None)]
    + [{'hosts': ('a', '')}, {'hosts': ('a\n',)}],
)
def test_wrong_values_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f'^{name}=.*: expected ') as refused:
        Example(**wrong)
    assert len(str(refused.value).splitlines()) == 1


def test_right_values_are_kept_and_numpy_ones_become_plain():
    assert Example() == Example(math.inf, 1, None, '', 'a', (), False)
    made = Example(np.float32(0.5), np.int64(3), 4.0, 'ünïcode 日本', 'b', ('h:1',), True)
    assert made == Example(0.5, 3, 4, 'ünïcode 日本', 'b', ('h:1',), True)
    assert [type(made.rate), type(made.count), type(made.most)] == [float, int, int]


def test_every_number_has_an_interval_and_its_class_checks_it():
    unbounded, unchecked = [], []
    for cls in _classes():
        for field in dataclasses.fields(cls):
            about = field.metadata.get('about')
            if about is None or settings.plain_kind(field.type) not in (int, float):
                continue
            if about.within is None:
                unbounded.append(f'{cls.__name__}.{field.name}')
        if settings.about(cls) and '__post_init__' not in dir(cls):
            unchecked.append(cls.__name__)
    assert not unbounded and not unchecked
    assert len(set(_classes())) > 15


def test_intervals_are_as_written():
    validate.within('[0, 1)', x=0)
    validate.within('(-inf, inf)', x=-1e308)
    with pytest.raises(ValueError, match=r'^x=1: expected a number of at least 0 and below 1$'):
        validate.within('[0, 1)', x=1)
    with pytest.raises(ValueError, match=r'^x=0: expected a number above 0 and at most 5$'):
        validate.within('(0, 5]', x=0)

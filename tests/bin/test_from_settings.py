"""Flags follow from dataclasses of settings, and dataclasses from flags."""

import dataclasses
import pathlib
import sys
from typing import Optional

from absl import flags
import pytest

from dp_fedemb import settings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'bin'))

from flags import from_settings


@dataclasses.dataclass(frozen=True)
class Inner:
    momentum: float = settings.setting(0.5, 'Of steps.')


@dataclasses.dataclass(frozen=True)
class Outer:
    required: int
    inner: Inner
    rate: float = settings.setting(0.1, 'Of learning.', flag='client_rate')
    name: Optional[str] = settings.setting(None, 'A name.', choices=('a', 'b'))
    hosts: tuple[str, ...] = settings.setting((), 'Where.', decides=False)
    loud: bool = settings.setting(False, 'Noise.')
    shape: Optional[complex] = settings.setting(None, 'Parsed.', parse=complex)

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f'rate={self.rate}: with momentum={self.inner.momentum}')


@pytest.fixture
def parsed(monkeypatch):
    """Function from a command line to the flags made of `Outer`."""
    values = flags.FlagValues()
    monkeypatch.setattr(from_settings, 'FLAGS', values)
    for kind in ('bool', 'integer', 'float', 'string', 'list'):
        define = getattr(flags, f'DEFINE_{kind}')
        monkeypatch.setattr(
            from_settings.flags,
            f'DEFINE_{kind}',
            lambda *arguments, define=define: define(*arguments, flag_values=values),
        )

    def parse(*line, **options):
        from_settings.define(Outer, **options)
        values(['program', *line])
        return values

    return parse


def test_defaults_are_the_dataclass_own(parsed):
    parsed()
    assert from_settings.build(Outer, required=3) == Outer(3, Inner())


def test_every_kind_of_value_is_read(parsed):
    line = '--pre_client_rate=2 --pre_momentum=0.25 --pre_name=b --pre_hosts=x,y --pre_loud'
    parsed(*line.split(), '--pre_shape=1+2j', prefix='pre_')
    assert from_settings.build(Outer, 'pre_', required=3) == Outer(
        3, Inner(0.25), 2.0, 'b', ('x', 'y'), True, 1 + 2j
    )


def test_errors_name_the_flag_and_the_librarys_the_argument(parsed):
    parsed('--client_rate=0')
    with pytest.raises(ValueError, match=r'^client_rate=0.0: with momentum=0.5'):
        from_settings.build(Outer, required=3)
    with pytest.raises(ValueError, match=r'^rate=0'):
        Outer(3, Inner(), rate=0)


def test_what_decides_is_recorded_under_the_flags_name(parsed):
    parsed('--client_rate=2', '--hosts=x')
    assert from_settings.record(Outer) == {
        'client_rate': 2.0,
        'name': None,
        'loud': False,
        'shape': None,
    }


def test_a_setting_without_help_in_its_class_has_no_flag(parsed):
    assert 'required' not in parsed()


def test_choices_and_help_are_shown(parsed):
    values = parsed()
    assert values['name'].help == 'A name. One of a, b.'

"""Settings as dataclass fields that know their help.

A setting's name, default, choices and help stand once, in the frozen dataclass it
belongs to. Flags, `config.json`, the check when a run is continued, `--help` and the
tables of the documentation are made from there.
"""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import math
import types
import typing
from typing import Any, Optional, Union

from dp_fedemb import validate

# Stands for a setting's default where None would be a value.
DEFAULT = '<default>'

_Choices = Union[Iterable[str], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class About:
    """What a setting's field says of itself beside its name, type and default.

    Attributes:
        help: one or two sentences.
        flag: name of its flag where that is not the field's; error messages of
            binaries use it, those of the library the field's name.
        choices: allowed values; None for any.
        decides: whether it changes what a run computes. A directory belongs to one
            combination of such settings; the others may differ when it is continued.
        absent: what a `config.json` from before the setting existed means by not naming
            it; `DEFAULT` for the default.
        parse: makes the value of a text where its flag is one; None for plain values.
        within: interval of a number, see `validate.within`. The default need not be in
            it.
    """

    help: str
    flag: Optional[str] = None
    choices: Optional[tuple[str, ...]] = None
    decides: bool = True
    absent: Any = DEFAULT
    parse: Optional[Callable[[str], Any]] = None
    within: Optional[str] = None


def setting(
    default: Any = dataclasses.MISSING,
    help: str = '',  # The field's name in absl, too.
    *,
    flag: Optional[str] = None,
    choices: Optional[_Choices] = None,
    decides: bool = True,
    absent: Any = DEFAULT,
    parse: Optional[Callable[[str], Any]] = None,
    within: Optional[str] = None,
) -> Any:
    """Returns the dataclass field of a setting.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Batches:
    ...     batch_size: int = setting(32, 'Examples of a local step.')
    >>> Batches().batch_size, about(Batches)['batch_size'].help
    (32, 'Examples of a local step.')

    Args:
        default: its value where nobody gives one; without it the field is required.
        help: see `About`.
        flag: see `About`.
        choices: see `About`; of a mapping, its keys.
        decides: see `About`.
        absent: see `About`.
        parse: see `About`.
        within: see `About`.
    """
    listed = None if choices is None else tuple(choices)
    described = About(help, flag, listed, decides, absent, parse, within)
    return dataclasses.field(default=default, metadata={'about': described})


def parse_preset(what: str, text: str, presets: Mapping[str, Any]) -> Any:
    """Returns a dataclass of a text like 'NAME' or 'NAME:field=0.1,other=0.5'.

    Args:
        what: it is, for messages.
        text: a name of `presets`, with changes after a colon; those of fields that are no
            texts are numbers.
        presets: name -> dataclass, all of one class.

    Raises:
        ValueError: for an unknown name or field, no number, or as the dataclass does.
    """
    name, _, changes = text.partition(':')
    validate.one_of(what, name, presets)
    kinds = {field.name: field.type for field in dataclasses.fields(presets[name])}
    values: dict[str, Any] = {}
    for change in filter(None, changes.split(',')):
        field, _, value = change.partition('=')
        validate.one_of(f'field of {what} {text!r}', field, kinds)
        if field in values:
            raise ValueError(f'{what} {text!r}: says {field} twice; leave one out')
        try:
            values[field] = value if kinds[field] is str else validate.read_number(value)
        except ValueError:
            raise ValueError(f'{what} {text!r}: {field}={value!r} is no number') from None
    return dataclasses.replace(presets[name], **values)


def about(cls: type) -> dict[str, About]:
    """Returns the settings of a dataclass by field name, in order; other fields are not."""
    return {
        field.name: field.metadata['about']
        for field in dataclasses.fields(cls)
        if 'about' in field.metadata
    }


def check(instance: Any) -> None:
    """Checks every setting of a dataclass; for its `__post_init__`.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Client:
    ...     rate: float = setting(0.1, 'Of steps.', within='(0, 1e3]')
    ...     __post_init__ = check
    >>> Client(float('nan'))
    Traceback (most recent call last):
    ValueError: rate=nan: expected a finite number

    Raises:
        ValueError: in one line, for a value of another type than the field's, outside the
            setting's choices or interval, for a number that is not finite, or a text that
            is empty or has control characters. The default is always allowed.
    """
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if 'about' not in field.metadata:
            continue
        check_value(field, value, field.name)
        kind = plain_kind(field.type)
        if kind in (int, float) and value is not None and not isinstance(value, (kind, int)):
            # NumPy's numbers, and 2.0 for 2, as what config.json can hold.
            object.__setattr__(instance, field.name, kind(value))


def check_value(field: 'dataclasses.Field[Any]', value: Any, name: str) -> None:
    """Checks a value of a setting as `check` does.

    Args:
        field: of the setting.
        value: of the field.
        name: what messages call it.
    """
    described, kind = field.metadata['about'], plain_kind(field.type)
    if value is None and (kind is not field.type or field.default is None):
        return
    if type(value) is type(field.default) and value == field.default:
        return
    if described.choices is not None:
        validate.one_of(name, value, described.choices)
    elif kind is bool:
        validate.one_of(name, value, (True, False))
    elif kind is int:
        validate.whole(described.within or '(-1e18, 1e18)', **{name: value})
    elif kind is float:
        validate.finite(**{name: value})
        validate.within(described.within or '(-inf, inf)', **{name: value})
    elif kind is str:
        validate.text(**{name: value})
    elif typing.get_origin(kind) is tuple:
        for item in value:
            validate.text(**{name: item})


def plain_kind(kind: Any) -> Any:
    """Returns X for Optional[X], and any other type as it is."""
    if typing.get_origin(kind) in (Union, getattr(types, 'UnionType', Union)):
        inner = [part for part in typing.get_args(kind) if part is not type(None)]
        return inner[0] if len(inner) == 1 else kind
    return kind


def record(instance: Any) -> dict[str, Any]:
    """Returns the settings that decide what is computed, as JSON values by name.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Client:
    ...     rate: float = setting(0.1, 'Of steps.')
    ...     threads: int = setting(1, 'Of this machine.', decides=False)
    >>> record(Client())
    {'rate': 0.1}

    Args:
        instance: of a dataclass; fields that are dataclasses of settings are nested.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        described = field.metadata.get('about')
        if described is not None and described.decides:
            values[field.name] = _plain(value)
        elif described is None and dataclasses.is_dataclass(value):
            values[field.name] = record(value)
    return values


def absent(cls: type) -> dict[str, Any]:
    """Returns what a `config.json` means by not naming a setting, by name.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Plan:
    ...     rounds: int = setting(help='Rounds.')
    ...     grouping: str = setting('groups', 'Of users.', absent='slots')
    >>> absent(Plan)
    {'grouping': 'slots'}

    Args:
        cls: a dataclass; settings without a default were always there.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        described = field.metadata.get('about')
        if described is not None and described.absent != DEFAULT:
            values[field.name] = _plain(described.absent)
        elif described is not None and field.default is not dataclasses.MISSING:
            values[field.name] = _plain(field.default)
        elif described is None and dataclasses.is_dataclass(field.type):
            values[field.name] = absent(field.type)
    return values


def _plain(value: Any) -> Any:
    """JSON values: tuples as lists, dataclasses as objects, infinity as null."""
    if dataclasses.is_dataclass(value):
        return dataclasses.asdict(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return None if isinstance(value, float) and math.isinf(value) else value

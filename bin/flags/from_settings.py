"""Flags made from dataclasses of settings, and dataclasses made from flags.

A setting's name, default, choices and help stand in its dataclass (`dp_fedemb.settings`)
and nowhere else.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
import dataclasses
import re
import typing
from typing import Any, TypeVar

from absl import flags

from flags import paths

from dp_fedemb import settings
from dp_fedemb import validate

FLAGS = flags.FLAGS
_Settings = TypeVar('_Settings')

# Flag -> the setting that it is of.
_FIELDS: dict[str, dataclasses.Field] = {}


def define(
    cls: type,
    prefix: str = '',
    defaults: Mapping[str, Any] | None = None,
    without: Iterable[str] = (),
) -> None:
    """Defines a flag for every setting of a dataclass, and of the dataclasses in it.

    Args:
        cls: the dataclass.
        prefix: of the flags' names, where others have the plain ones.
        defaults: by field, where a command has another one than the dataclass, or the
            dataclass has none.
    """
    defaults = defaults or {}
    for field in dataclasses.fields(cls):
        about = field.metadata.get('about')
        if field.name in without:
            continue
        if about is not None:
            default = None if field.default is dataclasses.MISSING else field.default
            name = prefix + (about.flag or field.name)
            _define(name, field, defaults.get(field.name, default))
        elif dataclasses.is_dataclass(field.type):
            define(field.type, prefix, defaults)


def names(cls: type) -> list[str]:
    """Returns the flags that `define` made of a dataclass, without a prefix."""
    found = []
    for field in dataclasses.fields(cls):
        about = field.metadata.get('about')
        if about is not None:
            found.append(about.flag or field.name)
        elif dataclasses.is_dataclass(field.type):
            found += names(field.type)
    return found


def record(cls: type) -> dict[str, Any]:
    """Returns the flags of a dataclass that decide what is computed, by flag's name."""
    decides = [
        about.flag or name for name, about in settings.about(cls).items() if about.decides
    ]
    return {name: FLAGS[name].value for name in decides}


def define_options(choices: Iterable[type]) -> None:
    """Defines the settings of several dataclasses, of which one will be chosen.

    A flag that is not given is None, so that an option of another choice is refused
    instead of ignored; see `options`.
    """
    for cls in choices:
        for field in dataclasses.fields(cls):
            if 'about' in field.metadata and field.name not in FLAGS:
                _define(field.name, field, None)


def build(cls: type[_Settings], prefix: str = '', **given: Any) -> _Settings:
    """Makes a dataclass of the flags that `define` made from it.

    Args:
        cls: the dataclass.
        prefix: as in `define`.
        **given: values of fields that are not read from flags.

    Raises:
        ValueError: as the dataclass does, with flags' names in place of fields'.
    """
    values = dict(given)
    for field in dataclasses.fields(cls):
        about = field.metadata.get('about')
        if field.name in values:
            continue
        if about is not None:
            value = FLAGS[prefix + (about.flag or field.name)].value
            if about.parse is not None and value is not None:
                value = about.parse(value)
            values[field.name] = tuple(value) if isinstance(value, list) else value
        elif dataclasses.is_dataclass(field.type):
            values[field.name] = build(field.type, prefix)
    return with_flag_names(lambda: cls(**values), cls, prefix)


def options(
    cls: type, choices: Mapping[str, type], without: Iterable[str] = ()
) -> dict[str, Any]:
    """Returns the flags of `define_options` that were given, as fields of the chosen class.

    Args:
        cls: one of `choices`.
        choices: name -> dataclass.
        without: names of settings whose flags are not read.

    Raises:
        ValueError: for an option that `cls` does not have.
    """
    names = {name for other in choices.values() for name in settings.about(other)}
    values = {}
    for name in sorted(names - set(without)):
        value = FLAGS[name].value
        if value is None:
            continue
        if name not in settings.about(cls):
            takers = [key for key, other in choices.items() if name in settings.about(other)]
            raise ValueError(
                f'{name}={value}: an option of {" and ".join(takers)}, not of {cls.name};'
                ' leave it out or choose one that has it'
            )
        values[name] = value
    return values


def with_flag_names(work: Callable[[], Any], cls: type, prefix: str = '') -> Any:
    """Runs `work`; a ValueError about fields of `cls` names their flags instead."""
    try:
        return work()
    except ValueError as error:
        text = str(error)
        for name, about in settings.about(cls).items():
            text = re.sub(rf'\b{name}(?==)', prefix + (about.flag or name), text)
        raise ValueError(text) from None


def check() -> None:
    """Checks the values of all flags, whether they will be used or not.

    Those of settings as their dataclasses do; of others, that numbers are finite and texts
    neither empty nor full of control characters. In paths ~ becomes a home.

    Raises:
        ValueError: for the first flag of a wrong value.
    """
    for name, flag in own_flags():
        value, field = flag.value, _FIELDS.get(name)
        if flag.present and value == [] and not isinstance(flag, flags.MultiFlag):
            raise ValueError(f'{name}: expected at least one value, or leave it out')
        if value is None or (type(value) is type(flag.default) and value == flag.default):
            continue
        if isinstance(value, str) and value.startswith('--'):
            raise ValueError(f'{name}={value!r}: is another flag; give {name} a value')
        if field is None:
            _check_plain(flag, value)
        elif field.metadata['about'].parse is not None:
            validate.text(**{name: value})
            try:
                field.metadata['about'].parse(value)
            except ValueError as error:
                raise ValueError(f'{name}={value!r}: {error}') from None
        else:
            settings.check_value(field, value, name)
        if name in paths.NAMES:
            paths.resolve(flag)


def need(name: str, other: str) -> None:
    """Refuses a flag that would do nothing without another one.

    Raises:
        ValueError: if `name` is given another value than its default, and `other` is not.
    """
    flag = FLAGS[name]
    if flag.value != flag.default and FLAGS[other].value == FLAGS[other].default:
        raise ValueError(f'{name}={flag.value}: does nothing without {other}; leave it out')


def refuse_unused(purpose: str, *names: str) -> None:
    """Refuses flags that were given for a purpose that does not read them.

    Args:
        purpose: what is done, in the words of the message.
        *names: flags that it has no use for.

    Raises:
        ValueError: for the first of them that was given.
    """
    for name in names:
        if FLAGS[name].present:
            raise ValueError(
                f'{name}={FLAGS[name].value}: {purpose} does not use it; leave it out'
            )


def own_flags() -> Iterator[tuple[str, flags.Flag]]:
    """Yields name and flag of all but those of absl."""
    for module, found in FLAGS.flags_by_module_dict().items():
        if not module.startswith('absl'):
            yield from ((flag.name, flag) for flag in found)


def _check_plain(flag: flags.Flag, value: Any) -> None:
    named = {flag.name: value}
    if isinstance(value, float):
        validate.finite(**named)
    elif isinstance(value, int) and not isinstance(value, bool):
        # What has bounds of its own is in them, and a secret seed may be huge.
        if getattr(flag.parser, 'upper_bound', None) is None:
            validate.whole('(-1e18, 1e18)', **named)
    elif isinstance(value, str):
        validate.text(**named)
    elif isinstance(value, list):
        for item in value:
            _check_plain(flag, item)


def _define(name: str, field: dataclasses.Field, default: Any) -> None:
    _FIELDS[name] = field
    about, kind = field.metadata['about'], field.type
    help_text = about.help
    if about.within is not None:
        help_text += f' In {about.within}.'
    if about.choices is not None:
        help_text += f' One of {", ".join(about.choices)}.'
    if about.parse is not None:
        kind = str
    kind = settings.plain_kind(kind)
    if kind is bool:
        flags.DEFINE_bool(name, default, help_text)
    elif kind is int:
        flags.DEFINE_integer(name, default, help_text)
    elif kind is float:
        flags.DEFINE_float(name, default, help_text)
    elif kind is str:
        flags.DEFINE_string(name, default, help_text)
    elif typing.get_origin(kind) is tuple:
        flags.DEFINE_list(name, list(default), help_text)
    else:
        raise TypeError(f'{name}: no flag for values of {kind}; give its setting parse=')

"""Settings as dataclass fields that know their help.

A setting's name, default, choices and help stand once, in the frozen dataclass it
belongs to. Flags, `config.json`, the check when a run is continued, `--help` and the
tables of the documentation are made from there.
"""

from collections.abc import Iterable, Mapping
import dataclasses
from typing import Any, Optional, Union

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
    """

    help: str
    flag: Optional[str] = None
    choices: Optional[tuple[str, ...]] = None
    decides: bool = True


def setting(
    default: Any = dataclasses.MISSING,
    help: str = '',  # The field's name in absl, too.
    *,
    flag: Optional[str] = None,
    choices: Optional[_Choices] = None,
    decides: bool = True,
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
    """
    listed = None if choices is None else tuple(choices)
    return dataclasses.field(
        default=default, metadata={'about': About(help, flag, listed, decides)}
    )


def about(cls: type) -> dict[str, About]:
    """Returns the settings of a dataclass by field name, in order; other fields are not."""
    return {
        field.name: field.metadata['about']
        for field in dataclasses.fields(cls)
        if 'about' in field.metadata
    }

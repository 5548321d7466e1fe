"""The files of a store: their names, and what must be true of them."""

import collections
from collections.abc import Iterable
import io
import json
import os
import pathlib
from typing import Any

import numpy as np

from dp_fedemb import files
from dp_fedemb import host_error
from dp_fedemb.data import example_spec as spec_lib
from dp_fedemb.data import names as names_lib

FORMAT_VERSION = 2
META = 'meta.json'
EXAMPLES = 'examples.bin'
EXAMPLE_NAMES = 'example_names.txt'
USER_NAMES = 'user_names.txt'
IDENTITY_NAMES = 'identity_names.txt'
IDENTITIES = 'identities.npy'
USER_SPLITS = 'user_splits.npy'
# Format 1 held images alone and called them so.
_OLD_NAMES = {EXAMPLES: 'images.bin', EXAMPLE_NAMES: 'image_names.txt'}
_COUNTS = {'num_examples', 'num_users', 'num_identities'}
_REMEDY = 'delete the directory and convert again'


def find(path: pathlib.Path, name: str) -> pathlib.Path:
    """Returns where a store has a file, under its present name or its old one."""
    old = path / _OLD_NAMES.get(name, name)
    return old if old.exists() and not (path / name).exists() else path / name


def spec(meta: dict[str, Any]) -> spec_lib.ExampleSpec:
    """Returns the shape and type of the examples that meta.json states."""
    if 'image_shape' in meta:
        return spec_lib.ExampleSpec(meta['image_shape'])
    return spec_lib.ExampleSpec(meta['example_shape'], meta['example_dtype'])


def text_of(value: object) -> str:
    """Returns a name of an example as it is stored, on one line."""
    return str(value).replace('\n', ' ').replace('\r', ' ')


def name_of(value: object) -> str:
    """Returns a name of a user or an identity as it is stored; see `names.normal`."""
    return names_lib.normal(text_of(value))


def write_names(path: pathlib.Path, names: Iterable[str]) -> None:
    """Writes one name a line."""
    # File names need not be valid text.
    with open(path, 'w', encoding='utf-8', errors='surrogateescape') as file:
        file.writelines(f'{name}\n' for name in names)


def read_names(path: pathlib.Path, count: int) -> list[str]:
    """Reads `count` names, one a line.

    Raises:
        ValueError: for another number of them.
    """
    text = (
        files.read_bytes(path).decode('utf-8', 'surrogateescape')
        if os.path.lexists(path)
        else ''
    )
    names = text.split('\n')[:-1]
    if len(names) != count:
        raise ValueError(f'{path}: {len(names)} names, expected {count}; {_REMEDY}')
    return names


def read_meta(path: pathlib.Path) -> dict[str, Any]:
    """Reads meta.json.

    Raises:
        ValueError: if it is not JSON, of a format unknown here, or incomplete.
    """
    try:
        meta = json.loads(files.read_bytes(path / META).decode('utf-8'))
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path}/{META}: not JSON ({error}); {_REMEDY}') from None
    if not isinstance(meta, dict):
        raise ValueError(f'{path}/{META}: expected an object; {_REMEDY}')
    version = meta.get('format_version')
    if version not in (1, FORMAT_VERSION):
        raise ValueError(
            f'{path}: format_version={version}, expected 1 or {FORMAT_VERSION}; {_REMEDY}'
        )
    shape = {'image_shape'} if version == 1 else {'example_shape', 'example_dtype'}
    missing = (_COUNTS | shape) - set(meta)
    if missing:
        raise ValueError(f'{path}/{META}: lacks {", ".join(sorted(missing))}; {_REMEDY}')
    for name in sorted(_COUNTS):
        if type(meta[name]) is not int or not 0 <= meta[name] < 1 << 62:
            raise ValueError(f'{path}/{META}: {name}={meta[name]!r}, no count; {_REMEDY}')
    try:
        spec(meta)
    except (TypeError, ValueError, OverflowError) as error:
        reason = ' '.join(str(error).split())
        raise ValueError(f'{path}/{META}: {reason}; {_REMEDY}') from None
    return meta


def read_array(path: pathlib.Path, dtype: str) -> np.ndarray:
    """Reads an array of a store.

    Raises:
        ValueError: if the file is damaged or holds another type.
    """
    try:
        array = np.load(io.BytesIO(files.read_bytes(path)))
    # Its header is Python, which can be damaged in any way.
    except Exception as error:
        if host_error.of_the_host(error):
            raise
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise ValueError(f'{path}: damaged ({reason}); {_REMEDY}') from None
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
        raise ValueError(f'{path}: expected one row of {dtype}; {_REMEDY}')
    return array


def check_sizes(path: pathlib.Path, meta: dict[str, Any]) -> None:
    """Raises ValueError if a file is missing or the examples have another size."""
    examples = find(path, EXAMPLES)
    for file in (examples, path / IDENTITIES, path / USER_SPLITS):
        if not file.is_file():
            raise ValueError(f'{file}: missing, or no file; {_REMEDY}')
    expected = meta['num_examples'] * spec(meta).num_bytes
    actual = examples.stat().st_size
    if actual != expected:
        raise ValueError(f'{examples}: {actual} bytes, expected {expected}; {_REMEDY}')


def check_arrays(
    path: pathlib.Path, meta: dict[str, Any], splits: np.ndarray, identities: np.ndarray
) -> None:
    """Raises ValueError if rows are not divided among all users and identities."""
    num_examples, num_users, num_identities = (
        meta[name] for name in ('num_examples', 'num_users', 'num_identities')
    )
    fit = (
        splits.shape == (num_users + 1,)
        and splits[0] == 0
        and splits[-1] == num_examples
        and np.all(np.diff(splits) >= 0)
    )
    if not fit:
        raise ValueError(
            f'{path}/{USER_SPLITS}: does not divide {num_examples} examples among'
            f' {num_users} users; {_REMEDY}'
        )
    fit = (
        identities.shape == (num_examples,)
        and num_examples > 0
        and identities.min() == 0
        and identities.max() == num_identities - 1
    )
    if not fit:
        raise ValueError(
            f'{path}/{IDENTITIES}: does not give {num_examples} examples'
            f' {num_identities} identities; {_REMEDY}'
        )


def check_user_names(path: pathlib.Path, names: list[str]) -> None:
    """Raises ValueError if two users are called the same: they would be one person."""
    spelt = collections.Counter(map(name_of, names))
    if len(spelt) < len(names):
        twice = spelt.most_common(1)[0][0]
        raise ValueError(
            f'{path}/{USER_NAMES}: {twice!r} is there twice, and a privacy unit must be one'
            f' user; merge the two and convert again'
        )

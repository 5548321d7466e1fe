"""Packed user store: all examples in one file, each user's rows next to each other.

A directory that anything can read:

    meta.json           format version, shape and type of an example, counts, what it
                        was made from
    examples.bin        [num_examples, *shape], row-major, little-endian, no header
    identities.npy      int32 [num_examples], identity of each example, from 0
    user_splits.npy     int64 [num_users + 1], rows of user u are splits[u]:splits[u+1]
    user_names.txt      one name a line, in user order
    identity_names.txt  one name a line, in identity order
    example_names.txt   optional: one name a line, in row order

Users are the places of a roster: one without rows is a place without data. Clients map
`examples.bin` into memory inside their graph and copy out their rows.
"""

from collections.abc import Iterable
import functools
import os
import pathlib
from typing import Any, Optional, Union

import numpy as np

from dp_fedemb import host_error
from dp_fedemb.data import example_spec as spec_lib
from dp_fedemb.data import fingerprint as fingerprint_lib
from dp_fedemb.data import store_format
from dp_fedemb.data.images import preprocessing as preprocessing_lib


class UserStore:
    """Read-only view of a store; make one with `UserStore.open`.

    Attributes:
        path: the directory.
        meta: contents of meta.json; `meta['source']` says what it was made from.
        examples: memory map [num_examples, *example_spec.shape].
        identities: int32 [num_examples], 0..num_identities-1.
        user_splits: int64 [num_users + 1].
    """

    def __init__(self, path: pathlib.Path, meta: dict[str, Any]):
        self.path = path
        self.meta = meta
        self.identities = store_format.read_array(path / store_format.IDENTITIES, 'int32')
        self.user_splits = store_format.read_array(path / store_format.USER_SPLITS, 'int64')
        self._as_opened = _state(self.examples_path)
        shape = (self.num_examples, *self.example_spec.shape)
        self.examples = np.memmap(self.examples_path, self.example_spec.dtype, 'r', shape=shape)

    @classmethod
    def open(cls, path: Union[str, os.PathLike]) -> 'UserStore':
        """Opens a store.

        Raises:
            FileNotFoundError: if there is none at `path`.
            ValueError: if its files do not fit each other, or two users have one name.
        """
        path = pathlib.Path(path).absolute()
        if not (path / store_format.META).exists():
            raise FileNotFoundError(f'{path}: no user store here (meta.json is missing)')
        meta = store_format.read_meta(path)
        store_format.check_sizes(path, meta)
        if not meta['num_examples']:
            raise ValueError(f'{path}: a store without examples; convert again')
        store = cls(path, meta)
        store_format.check_arrays(path, meta, store.user_splits, store.identities)
        store_format.check_user_names(path, store.user_names)
        return store

    def check_unchanged(self) -> None:
        """Checks that the examples are the file that was opened, as it was then.

        By its size, time and place on the disk; whoever reads a map of a file that was cut
        short is stopped by the system, and a step that maps it anew reads what is there.

        Raises:
            HostError: if it was changed, replaced or lost.
        """
        state = _state(self.examples_path)
        if state != self._as_opened:
            what = 'was changed, or replaced,' if state else 'is gone'
            raise host_error.HostError(
                f'{self.examples_path}: {what} since it was opened; bring back what was there,'
                ' and the same command goes on'
            )

    def read_ahead(self, users: Iterable[int]) -> None:
        """Has the system read examples of users from the disk, without waiting for it.

        Steps gather examples from a memory map and would wait for a disk. On a system
        that cannot be told so, nothing happens.
        """
        if not hasattr(os, 'posix_fadvise'):
            return
        size = self.example_spec.num_bytes
        file = os.open(self.examples_path, os.O_RDONLY)
        try:
            for user in users:
                first, end = (int(split) * size for split in self.user_splits[user : user + 2])
                # A length of 0 would mean: to the end of the file.
                if end > first:
                    os.posix_fadvise(file, first, end - first, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(file)

    def fingerprint(self, key: bytes) -> str:
        """Returns 64 hexadecimal digits that tell this store from any other.

        They depend on all that training reads: the examples with their shape and type,
        whose they are and what they show, the names of users and identities. Names of
        examples and `meta['source']` are left out. Every byte is read, each time.

        Args:
            key: at least 16 secret bytes; without them the fingerprint tells nothing.

        Raises:
            ValueError: for a shorter key.
        """
        return fingerprint_lib.of_contents(
            key,
            f'{self.example_spec.dtype}{list(self.example_spec.shape)}',
            self.user_names,
            self.identity_names,
            self.user_splits,
            self.identities,
            self.examples_path,
        )

    @functools.cached_property
    def examples_path(self) -> pathlib.Path:
        """Path of the packed examples."""
        return store_format.find(self.path, store_format.EXAMPLES)

    @functools.cached_property
    def example_spec(self) -> spec_lib.ExampleSpec:
        """Shape and type of an example."""
        return store_format.spec(self.meta)

    @property
    def preprocessing(self) -> Optional[preprocessing_lib.Preprocessing]:
        """How pictures became the examples; None if the store does not say."""
        return preprocessing_lib.of_source(self.meta.get('source'))

    @property
    def num_examples(self) -> int:
        """Number of examples."""
        return self.meta['num_examples']

    @property
    def num_users(self) -> int:
        """Number of places on the roster, those without data among them."""
        return self.meta['num_users']

    @property
    def num_identities(self) -> int:
        """Number of different identities."""
        return self.meta['num_identities']

    @functools.cached_property
    def present(self) -> np.ndarray:
        """bool [num_users], whether the user has an example."""
        return np.diff(self.user_splits) > 0

    @functools.cached_property
    def user_names(self) -> list[str]:
        """Names in user order."""
        return store_format.read_names(self.path / store_format.USER_NAMES, self.num_users)

    @functools.cached_property
    def identity_names(self) -> list[str]:
        """Names in identity order."""
        path = self.path / store_format.IDENTITY_NAMES
        return store_format.read_names(path, self.num_identities)

    @functools.cached_property
    def example_names(self) -> Optional[list[str]]:
        """Names in row order, for instance of files; None if the store has none."""
        path = store_format.find(self.path, store_format.EXAMPLE_NAMES)
        # A link that leads nowhere is damage, and not a store without names.
        named = os.path.lexists(path)
        return store_format.read_names(path, self.num_examples) if named else None

    @property
    def users(self) -> np.ndarray:
        """int64 [num_examples], the user of each row."""
        return np.repeat(np.arange(self.num_users), np.diff(self.user_splits))


def _state(path: pathlib.Path) -> Optional[tuple[int, int, int]]:
    """What tells a file from another one, or from itself after a change; None without one."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns

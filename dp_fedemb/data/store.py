"""Packed user store: all images in one file, each user's rows next to each other.

A directory that anything can read:

    meta.json           format version, image shape, counts, what it was made from
    images.bin          uint8 [num_examples, H, W, C], row-major, no header
    identities.npy      int32 [num_examples], identity of each image, 0..num_identities-1
    user_splits.npy     int64 [num_users + 1], rows of user u are splits[u]:splits[u+1]
    user_names.txt      one name a line, in user order
    identity_names.txt  one name a line, in identity order
    image_names.txt     optional: one name a line, in row order

Clients map `images.bin` into memory inside their graph and copy out their rows.
"""

from collections.abc import Iterable, Sequence
import functools
import json
import os
import pathlib
import shutil
from typing import Any, Optional, Union

import numpy as np

from dp_fedemb import randomness

FORMAT_VERSION = 1
_REMEDY = 'delete the directory and convert again'


class UserStore:
    """Read-only view of a store; make one with `UserStore.open`.

    Attributes:
        path: the directory.
        meta: contents of meta.json; `meta['source']` says what it was made from.
        images: uint8 memory map [num_examples, H, W, C].
        identities: int32 [num_examples], 0..num_identities-1.
        user_splits: int64 [num_users + 1].
    """

    def __init__(self, path: pathlib.Path, meta: dict[str, Any]):
        self.path = path
        self.meta = meta
        self.identities = np.load(path / 'identities.npy')
        self.user_splits = np.load(path / 'user_splits.npy')
        self.images = np.memmap(
            self.images_path, np.uint8, 'r', shape=(self.num_examples, *self.image_shape)
        )

    def read_ahead(self, users: Iterable[int]) -> None:
        """Has the system read images of users from the disk, without waiting for it.

        Steps gather images from a memory map and would wait for a disk. On a system that
        cannot be told so, nothing happens.
        """
        if not hasattr(os, 'posix_fadvise'):
            return
        size = int(np.prod(self.image_shape))
        file = os.open(self.images_path, os.O_RDONLY)
        try:
            for user in users:
                first, end = (int(split) * size for split in self.user_splits[user : user + 2])
                os.posix_fadvise(file, first, end - first, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(file)

    @classmethod
    def open(cls, path: Union[str, os.PathLike]) -> 'UserStore':
        """Opens a store.

        Raises:
            FileNotFoundError: if there is none at `path`.
            ValueError: if its files do not fit each other.
        """
        path = pathlib.Path(path).absolute()
        if not (path / 'meta.json').exists():
            raise FileNotFoundError(f'{path}: no user store here (meta.json is missing)')
        meta = _read_meta(path)
        _check_sizes(path, meta)
        store = cls(path, meta)
        _check_arrays(store)
        return store

    @property
    def images_path(self) -> pathlib.Path:
        """Path of the packed images."""
        return self.path / 'images.bin'

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return tuple(self.meta['image_shape'])

    @property
    def num_examples(self) -> int:
        """Number of images."""
        return self.meta['num_examples']

    @property
    def num_users(self) -> int:
        """Number of users, each with at least one image."""
        return self.meta['num_users']

    @property
    def num_identities(self) -> int:
        """Number of different identities."""
        return self.meta['num_identities']

    @functools.cached_property
    def user_names(self) -> list[str]:
        """Names in user order."""
        return _read_names(self.path / 'user_names.txt', self.num_users)

    @functools.cached_property
    def identity_names(self) -> list[str]:
        """Names in identity order."""
        return _read_names(self.path / 'identity_names.txt', self.num_identities)

    @functools.cached_property
    def image_names(self) -> Optional[list[str]]:
        """Names in row order, for instance of files; None if the store has none."""
        path = self.path / 'image_names.txt'
        return _read_names(path, self.num_examples) if path.exists() else None

    @property
    def users(self) -> np.ndarray:
        """int64 [num_examples], the user of each row."""
        return np.repeat(np.arange(self.num_users), np.diff(self.user_splits))


class UserStoreWriter:
    """Writes a store beside its place and moves it there when complete.

        with UserStoreWriter(path, (28, 28, 1)) as writer:
            writer.add_user(images, identities, name='alice')

    Identities are known by name (text or number) and numbered 0, 1, 2, ... in the
    order of their first appearance, so two stores never agree on numbers: compare
    `identity_names` instead.
    """

    def __init__(
        self,
        path: Union[str, os.PathLike],
        image_shape: Sequence[int],
        source: Optional[dict[str, Any]] = None,
        max_examples_per_user: Optional[int] = None,
        seed: int = 0,
    ):
        """Starts writing.

        Args:
            path: where the store will be; must not exist.
            image_shape: (H, W, C) of every image.
            source: what the store is made from, kept in meta.json (JSON-able).
            max_examples_per_user: users with more images keep this many, chosen by
                the user's name and `seed`; None keeps all.
            seed: of that choice.

        Raises:
            FileExistsError: if there is something at `path`.
        """
        self._path = pathlib.Path(path).absolute()
        if self._path.exists():
            raise FileExistsError(f'{self._path}: exists; delete it to convert again')
        self._shape = tuple(int(size) for size in image_shape)
        self._source = source or {}
        self._limit = max_examples_per_user
        self._seed = seed
        self._users_cut = 0
        self._examples_dropped = 0
        self._partial = partial_sibling(self._path)
        self._images = open(self._partial / 'images.bin', 'wb')
        self._identities = []
        self._splits = [0]
        self._user_names = []
        self._image_names = []
        self._identity_numbers = {}

    def add_user(
        self,
        images: np.ndarray,
        identities: Sequence[Union[int, str]],
        name: Optional[str] = None,
        image_names: Optional[Sequence[str]] = None,
    ) -> None:
        """Appends one user.

        Args:
            images: uint8 [n, H, W, C], n >= 1.
            identities: n names (text or numbers), one per image.
            name: for reports; the user's index by default.
            image_names: n names, for all users or for none.

        Raises:
            ValueError: for another shape or type, no image, or names of images for
                some users only.
        """
        images = np.asarray(images)
        shape_fits = images.shape[1:] == self._shape and len(images)
        if images.dtype != np.uint8 or not shape_fits:
            raise ValueError(
                f'user {name!r}: images {images.dtype}{list(images.shape)}, expected'
                f' uint8[n >= 1, {", ".join(map(str, self._shape))}]'
            )
        if len(identities) != len(images):
            raise ValueError(
                f'user {name!r}: {len(identities)} identities for {len(images)} images,'
                ' expected one for each'
            )
        name = _name(len(self._user_names) if name is None else name)
        names = [] if image_names is None else list(image_names)
        if len(names) not in (0, len(images)) or not self._image_names_fit(names):
            raise ValueError(
                f'user {name!r}: {len(names)} names of {len(images)} images, expected one'
                ' for each image of all users, or none'
            )
        if self._limit is not None and len(images) > self._limit:
            kept = self._sample(name, len(images))
            images, identities = images[kept], [identities[row] for row in kept]
            names = [names[row] for row in kept] if names else []
        self._image_names.extend(map(_name, names))
        numbers = self._identity_numbers
        of_user = [numbers.setdefault(_name(i), len(numbers)) for i in identities]
        self._identities.append(np.array(of_user, np.int32))
        self._images.write(np.ascontiguousarray(images).data)
        self._splits.append(self._splits[-1] + len(images))
        self._user_names.append(name)

    def _image_names_fit(self, names):
        return not self._user_names or bool(names) == bool(self._image_names)

    def _sample(self, name, count):
        """Rows that stay; the same whatever other users there are."""
        generator = randomness.generator(self._seed, f'max_examples_per_user/{name}')
        self._users_cut += 1
        self._examples_dropped += count - self._limit
        return np.sort(generator.choice(count, self._limit, replace=False))

    def __enter__(self) -> 'UserStoreWriter':
        return self

    def __exit__(self, kind, error, trace):
        self._images.close()
        if kind is not None or not self._identities:
            shutil.rmtree(self._partial)
            if kind is None:
                raise ValueError(f'{self._path}: no user was added; nothing was written')
            return
        np.save(self._partial / 'identities.npy', np.concatenate(self._identities))
        np.save(self._partial / 'user_splits.npy', np.asarray(self._splits, np.int64))
        _write_names(self._partial / 'user_names.txt', self._user_names)
        _write_names(self._partial / 'identity_names.txt', self._identity_numbers)
        if self._image_names:
            _write_names(self._partial / 'image_names.txt', self._image_names)
        meta = {
            'format_version': FORMAT_VERSION,
            'image_shape': list(self._shape),
            'num_examples': self._splits[-1],
            'num_users': len(self._user_names),
            'num_identities': len(self._identity_numbers),
            'users_cut': self._users_cut,
            'examples_dropped': self._examples_dropped,
            'source': self._source,
        }
        (self._partial / 'meta.json').write_text(json.dumps(meta, indent=2) + '\n')
        self._partial.rename(self._path)


def partial_sibling(path: pathlib.Path) -> pathlib.Path:
    """Makes an empty directory beside `path`, for what will be renamed to `path`.

    What a killed conversion left there earlier is removed; that of a process which
    still runs on this machine is not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f'{path.name}.partial-*'):
        owner = left.name.rsplit('-', 1)[1]
        if owner == str(os.getpid()) or not pathlib.Path('/proc', owner).exists():
            shutil.rmtree(left)
    partial = path.with_name(f'{path.name}.partial-{os.getpid()}')
    partial.mkdir()
    return partial


def _name(value):
    return str(value).replace('\n', ' ').replace('\r', ' ')


def _write_names(path, names):
    # File names need not be valid text.
    with open(path, 'w', encoding='utf-8', errors='surrogateescape') as file:
        file.writelines(f'{name}\n' for name in names)


def _read_names(path, count):
    text = path.read_bytes().decode('utf-8', 'surrogateescape') if path.exists() else ''
    names = text.split('\n')[:-1]
    if len(names) != count:
        raise ValueError(f'{path}: {len(names)} names, expected {count}; {_REMEDY}')
    return names


def _read_meta(path):
    try:
        meta = json.loads((path / 'meta.json').read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f'{path}/meta.json: not JSON ({error}); {_REMEDY}') from None
    version = meta.get('format_version')
    if version != FORMAT_VERSION:
        raise ValueError(
            f'{path}: format_version={version}, expected {FORMAT_VERSION}; {_REMEDY}'
        )
    missing = {'image_shape', 'num_examples', 'num_users', 'num_identities'} - set(meta)
    if missing:
        raise ValueError(f'{path}/meta.json: lacks {", ".join(sorted(missing))}; {_REMEDY}')
    return meta


def _check_sizes(path, meta):
    for name in ('images.bin', 'identities.npy', 'user_splits.npy'):
        if not (path / name).exists():
            raise ValueError(f'{path}/{name}: missing; {_REMEDY}')
    expected = meta['num_examples'] * int(np.prod(meta['image_shape']))
    actual = (path / 'images.bin').stat().st_size
    if actual != expected:
        raise ValueError(f'{path}/images.bin: {actual} bytes, expected {expected}; {_REMEDY}')


def _check_arrays(store):
    splits, identities = store.user_splits, store.identities
    fit = (
        splits.shape == (store.num_users + 1,)
        and splits[0] == 0
        and splits[-1] == store.num_examples
        and np.all(np.diff(splits) > 0)
    )
    if not fit:
        raise ValueError(
            f'{store.path}/user_splits.npy: does not divide {store.num_examples} images'
            f' among {store.num_users} users; {_REMEDY}'
        )
    fit = (
        identities.shape == (store.num_examples,)
        and identities.min() == 0
        and identities.max() == store.num_identities - 1
    )
    if not fit:
        raise ValueError(
            f'{store.path}/identities.npy: does not give {store.num_examples} images'
            f' {store.num_identities} identities; {_REMEDY}'
        )

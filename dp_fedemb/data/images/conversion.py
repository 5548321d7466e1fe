"""From a stream of single images, in any order, to stores grouped by user.

Images are decoded once, shrunk, and spooled to disk in the order they come; the
stores are then written user by user. Memory holds one user's images.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
import dataclasses
import hashlib
import os
import pathlib
from typing import Any, Optional, Union

import numpy as np

from dp_fedemb import progress
from dp_fedemb.data import names as names_lib
from dp_fedemb.data import store_writer
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.data.images import reading

_BROKEN_LIST = 'broken_images.txt'


@dataclasses.dataclass(frozen=True)
class Example:
    """One image on its way into a store.

    Attributes:
        part: store it belongs to, for instance 'train'.
        user: name of the user.
        identity: name of the identity.
        image: pixels, encoded image, path of one, or a function that returns one of
            these (so that files are read on all cores).
        name: what to call the image in a list of broken ones and, if all images of a
            part have names, in the store.
    """

    part: str
    user: Hashable
    identity: Hashable
    image: Union[np.ndarray, bytes, os.PathLike, Callable[[], Any]]
    name: str = ''


def convert(
    examples: Iterable[Example],
    directory: pathlib.Path,
    preprocessing: preprocessing_lib.Preprocessing,
    total: Optional[int],
    source: Optional[Mapping[str, Any]] = None,
    max_examples_per_user: Optional[int] = None,
    seed: int = 0,
    max_broken: int = 0,
    description: str = 'converting',
    train_users: Iterable[str] = (),
) -> tuple[str, ...]:
    """Writes one store for each part into `directory`.

    Users lie in the order of their names, a user's images in the order they came.

    Args:
        examples: the images.
        directory: an existing directory; see `cache.cached_stores`.
        preprocessing: of each image.
        total: number of examples, for the progress bar; None if not known.
        source: kept in each store's meta.json.
        max_examples_per_user: limit for the part 'train'.
        seed: of the choice of a user's images.
        max_broken: images that cannot be read are listed in `broken_images.txt` and
            skipped; one more than this many stops the conversion.
        description: of the progress bar.
        train_users: users of the part 'train' who have their place in the store even if no
            image of theirs is in it.

    Returns:
        What is worth noting: users of whom no image can be read, users whose names look
        like one, images that are the same in two parts or of two users, and those with
        further frames, which are left out.

    Raises:
        ValueError: for too many broken images.
    """
    spool = _Spool(directory / 'spool.bin', preprocessing.image_shape)
    broken = reading.Broken(max_broken)
    several: list[str] = []
    had_broken: set[tuple[str, str]] = set()
    with spool, progress.bar(total, description, 'image') as bar:
        for block in reading.decoded(examples, _read(preprocessing, several)):
            for example, image, reason in block:
                bar.update()
                if image is None:
                    broken.add(example.name, reason)
                    had_broken.add((example.part, names_lib.normal(example.user)))
                else:
                    spool.add(example, image)
    for part in spool.parts:
        limit = max_examples_per_user if part == 'train' else None
        writer = store_writer.UserStoreWriter(
            directory / part, preprocessing.image_shape, dict(source or {}), limit, seed
        )
        places = train_users if part == 'train' else ()
        with writer:
            for user, images, identities, names in spool.users(part, places):
                if len(images):
                    writer.add_user(images, identities, user, names)
                else:
                    writer.add_absent_user(user)
    doubtful = (
        *_look_alikes(spool, train_users),
        *spool.duplicates(),
        *reading.several_frames(several),
    )
    spool.path.unlink()
    if broken.lines:
        text = '\n'.join(broken.lines) + '\n'
        # For people to read: file names need not be valid text.
        (directory / _BROKEN_LIST).write_bytes(text.encode(errors='backslashreplace'))
    lost = sorted(user for part, user in had_broken if not spool.holds(part, user))
    if not lost:
        return doubtful
    return (
        f'no image can be read of {len(lost):,} users: {names_lib.shortened(lost)}; those of'
        ' train keep their places without data',
        *doubtful,
    )


def _look_alikes(spool: '_Spool', places: Iterable[str]) -> tuple[str, ...]:
    users = {*spool.users_named(), *map(names_lib.normal, places)}
    notes = []
    # Where identities are users, what is said of these is enough.
    for what, names in (('users', users), ('identities', spool.identities_named() - users)):
        groups = names_lib.look_alikes(names)
        if groups:
            shown = names_lib.shortened((' = '.join(map(repr, group)) for group in groups), 3)
            notes.append(
                f'{len(groups):,} name(s) of {what} with another one that looks alike, which'
                f' count as two each: {shown}; where they are one, give it one name'
            )
    return tuple(notes)


def broken_images(directory: pathlib.Path) -> list[str]:
    """Returns the images that a conversion skipped, each with the reason."""
    path = directory / _BROKEN_LIST
    if not path.is_file():
        return []
    return path.read_text('utf-8', errors='backslashreplace').split('\n')[:-1]


def _read(
    preprocessing: preprocessing_lib.Preprocessing, several: list[str]
) -> Callable[[Example], np.ndarray]:
    """Returns what reads an example; names of those with further frames go to `several`."""

    def read(example: Example) -> np.ndarray:
        image = example.image() if callable(example.image) else example.image
        return preprocessing(image, lambda: several.append(example.name or str(example.user)))

    return read


class _Spool:
    """Images in the order they came, with what is needed to regroup them."""

    def __init__(self, path: pathlib.Path, shape: tuple[int, int, int]):
        self.path = path
        self._shape = shape
        # part -> user -> list of (row, identity, name)
        self._rows: dict[str, dict[str, list[tuple[int, str, str]]]] = {}
        self._count = 0
        # A hash of each image, in the order of the rows; None where nothing is to be seen.
        self._hashes: list[Optional[bytes]] = []
        self._file = open(path, 'wb')

    def __enter__(self) -> '_Spool':
        return self

    def __exit__(self, *unused: object) -> None:
        self._file.close()

    @property
    def parts(self) -> list[str]:
        return list(self._rows)

    def add(self, example: Example, image: np.ndarray) -> None:
        content = image.tobytes()
        self._file.write(content)
        plain = content.count(content[:1]) == len(content)
        self._hashes.append(
            None if plain else hashlib.blake2b(content, digest_size=12).digest()
        )
        users = self._rows.setdefault(example.part, {})
        row = (self._count, names_lib.normal(example.identity), example.name)
        users.setdefault(names_lib.normal(example.user), []).append(row)
        self._count += 1

    def holds(self, part: str, user: str) -> bool:
        """Whether there is an image of a user."""
        return user in self._rows.get(part, {})

    def users_named(self) -> set[str]:
        """Users of whom there is an image."""
        return {user for users in self._rows.values() for user in users}

    def identities_named(self) -> set[str]:
        """Identities of which there is an image."""
        return {
            identity
            for users in self._rows.values()
            for rows in users.values()
            for _, identity, _ in rows
        }

    def duplicates(self) -> tuple[str, ...]:
        """Says how many images there are twice, as they are stored, where none should be."""
        owners: dict[bytes, tuple[str, str, str]] = {}
        notes = []
        counts = {'train': 0, 'other': 0}
        examples: dict[str, str] = {}
        for part in sorted(self._rows, key='train'.__ne__):
            for user, rows in self._rows[part].items():
                for row, _, name in rows:
                    digest = self._hashes[row]
                    if digest is None:
                        continue
                    of_part, of_user, of_name = owners.setdefault(digest, (part, user, name))
                    if of_part == part and of_user == user:
                        continue
                    kind = 'train' if part == of_part else 'other'
                    if part != of_part or part == 'train':
                        counts[kind] += 1
                        examples.setdefault(kind, f'{name or user} = {of_name or of_user}')
        if counts['other']:
            notes.append(
                f'{counts["other"]:,} images are, as stored, the same as one of another part'
                f' ({names_lib.printable(examples["other"])}): the evaluation then judges what'
                ' was trained on; remove them from one'
            )
        if counts['train']:
            notes.append(
                f'{counts["train"]:,} images of train are, as stored, the same as one of'
                f' another user ({names_lib.printable(examples["train"])}): if that is one'
                ' user, epsilon does not hold for it as a whole'
            )
        return tuple(notes)

    def users(
        self, part: str, places: Iterable[str] = ()
    ) -> Iterator[tuple[str, np.ndarray, list[str], Optional[list]]]:
        """Yields name, images, identities and names of images, by the user's name.

        Those of `places` without an image are yielded with none.
        """
        spooled = np.memmap(self.path, np.uint8, 'r', shape=(self._count, *self._shape))
        users = self._rows[part]
        named = all(name for rows in users.values() for _, _, name in rows)
        for user in sorted({*users, *map(names_lib.normal, places)}):
            rows, identities, names = zip(*users[user]) if user in users else ((), (), ())
            yield (
                user,
                spooled[np.array(rows, np.int64)],
                list(identities),
                list(names) if named else None,
            )

"""Your own images: `ROOT/identity/*.jpg`, or `ROOT/user/identity/*.jpg`.

In the first layout each folder of images is a user and an identity (a person of a
face collection); in the second a user owns several identities, and folders of the
same name under several users are one identity (a landmark that many photograph).
Any size, mode and format that Pillow reads.
"""

import collections
from collections.abc import Iterator
import dataclasses
import functools
import os
import pathlib

from dp_fedemb import validate
from dp_fedemb.data import cache
from dp_fedemb.data.images import conversion
from tasks.shared import base
from tasks.shared import converted

NAME = 'image_folder'
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.tif', '.tiff', '.webp')
_LAYOUTS = {'identity': 2, 'user/identity': 3}
_WHERE = 'a directory of images, ROOT/identity/*.jpg or ROOT/user/identity/*.jpg'


@dataclasses.dataclass(frozen=True)
class Options(base.CollectionOptions):
    """Options of the task.

    Attributes:
        layout: 'identity', 'user/identity', or 'auto' to see from the depth.
        split_file: a text file with a line 'part user' for each user, where part is
            train, validation, test or public; users that it does not name are left
            out, users of train without images keep their place. By default users are
            divided by hash.
    """

    layout: str = 'auto'
    split_file: str = ''


def build(config: base.TaskConfig) -> base.Task:
    """Converts the images under `config.data_dir`.

    Raises:
        FileNotFoundError: for no such directory, or no image in it.
        ValueError: for a mixed layout, too few users or too many broken images.
    """
    options = base.parse_options(Options, config, NAME)
    validate.one_of('option layout', options.layout, ['auto', *_LAYOUTS])
    root = base.require_data_dir(config, NAME, _WHERE)
    files = _image_files(root)
    with_users = _has_users(root, files, options.layout)
    # An owner's folder that is empty keeps its place.
    places = sorted(p.name for p in root.iterdir() if p.is_dir() and p.name[0] != '.')
    source = {
        'options': {**dataclasses.asdict(options), 'with_users': with_users},
        'places': places,
        'files': cache.listing_fingerprint(root, [root / path for path in files]),
    }
    if options.split_file:
        source['split_file'] = pathlib.Path(options.split_file).read_text()
    return converted.build(
        config,
        NAME,
        source,
        options.preprocessing,
        functools.partial(_read, config, options, root, files, places, with_users),
        description=f'{root.name}, user = first folder'
        if with_users
        else f'{root.name}, user = identity = folder',
        default_backbone=options.default_backbone,
    )


def _image_files(root) -> list[str]:
    """Paths below `root`, in order; hidden files and folders are none of ours."""
    found = []
    for directory, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith('.'):
                found.append(os.path.relpath(os.path.join(directory, name), root))
    if not found:
        raise FileNotFoundError(
            f'{root}: no image here ({", ".join(SUFFIXES)}); expected {_WHERE}'
        )
    return sorted(found)


def _has_users(root, files, layout) -> bool:
    depth = _LAYOUTS.get(layout) or files[0].count(os.sep) + 1
    if depth not in _LAYOUTS.values():
        raise ValueError(f'{root / files[0]}: expected images at {" or ".join(_LAYOUTS)}/')
    for path in files:
        if path.count(os.sep) + 1 != depth:
            raise ValueError(
                f'{root / path}: {path.count(os.sep)} folder(s) deep, others (or the option'
                f' layout={layout}) are {depth - 1} deep; use one layout'
            )
    return depth == _LAYOUTS['user/identity']


def _read(
    config: base.TaskConfig,
    options: Options,
    root: pathlib.Path,
    files: list[str],
    places: list[str],
    with_users: bool,
) -> converted.Input:
    owners = []
    for path in files:
        user, *_, identity = path.split(os.sep)[:-1] * (1 if with_users else 2)
        if with_users and options.identities == 'own':
            identity = f'{user}/{identity}'
        owners.append((user, identity))
    division = converted.divide(
        options, config.seed, not with_users or options.identities == 'own'
    )
    notes = ()
    if options.split_file:
        listed = _read_split_file(pathlib.Path(options.split_file), set(places))
        division = dataclasses.replace(division, users=listed.get)
        unlisted = {user for user, _ in owners} - set(listed)
        if unlisted:
            notes = (f'{len(unlisted):,} users are not in {options.split_file}: left out',)
        places = list(listed)

    def examples() -> Iterator[conversion.Example]:
        for path, (user, identity) in zip(files, owners):
            part = division.part(user, identity)
            if part is not None:
                yield conversion.Example(part, user, identity, root / path, path)

    return converted.found(
        collections.Counter(owners),
        division,
        examples(),
        notes=notes,
        max_broken=options.max_broken,
        places=places,
    )


def _read_split_file(path: pathlib.Path, users: set[str]) -> dict[str, str]:
    parts: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip() or line.startswith('#'):
            continue
        part, _, user = line.strip().partition(' ')
        user = user.strip()
        if part not in base.PARTS or user not in users:
            raise ValueError(
                f'{path}:{number}: {line!r}: expected "part user" with part one of'
                f' {", ".join(base.PARTS)} and user a folder of the images, or an empty one'
            )
        if parts.setdefault(user, part) != part:
            raise ValueError(f'{path}:{number}: user {user!r} is in {parts[user]} already')
    return parts

"""Your own images: `ROOT/identity/*.jpg`, or `ROOT/user/identity/*.jpg`.

In the first layout each folder of images is a user and an identity (a person of a
face collection); in the second a user owns several identities, and folders of the
same name under several users are one identity (a landmark that many photograph).
Any size, mode and format that `dp_fedemb.data.images` reads.
"""

import collections
from collections.abc import Iterator
import dataclasses
import functools
import os
import pathlib
from typing import Optional

from dp_fedemb import validate
from dp_fedemb.data import cache
from dp_fedemb.data import lists
from dp_fedemb.data import names as names_lib
from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import listing as listing_lib
from tasks.shared import base
from tasks.shared import converted

NAME = 'image_folder'
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
        PermissionError: for a folder that may not be read.
        ValueError: for a mixed layout, one folder under two names, too few users or too
            many broken images.
    """
    options = base.parse_options(Options, config, NAME)
    validate.one_of('option layout', options.layout, ['auto', *_LAYOUTS])
    root = base.require_data_dir(config, NAME, _WHERE)
    listing = listing_lib.pictures(root)
    with_users = _has_users(listing, options.layout)
    _check_folders(listing)
    # An owner's folder that is empty keeps its place.
    places = sorted({names_lib.normal(name) for name in listing.folders})
    source = {
        'options': {**dataclasses.asdict(options), 'with_users': with_users},
        'places': places,
        'files': cache.listing_fingerprint(root, listing.paths),
    }
    listed = None
    if options.split_file:
        listed = _read_split_file(pathlib.Path(options.split_file), set(places))
        source['split_file'] = listed
    task = converted.build(
        config,
        NAME,
        source,
        options.preprocessing,
        functools.partial(_read, config, options, listing, places, with_users, listed),
        description='a folder of pictures, user = first folder'
        if with_users
        else 'a folder of pictures, user = identity = folder',
        default_backbone=options.default_backbone,
    )
    # What lies beside the pictures may change while they, and so the stores, do not.
    return dataclasses.replace(task, notes=(*task.notes, *_notes(listing, places)))


def _notes(listing: listing_lib.Listing, places: list[str]) -> tuple[str, ...]:
    owners = {names_lib.normal(name.split(os.sep)[0]) for name in listing.names}
    empty = [name for name in places if name not in owners]
    notes = list(listing.notes)
    if len(places) < len(listing.folders):
        spellings = collections.Counter(map(names_lib.normal, listing.folders))
        twice = [name for name in places if spellings[name] > 1]
        notes.append(
            f'{len(twice):,} names are spelt in several ways of Unicode, and are one user'
            f' each: {names_lib.shortened(twice)}'
        )
    if empty:
        notes.append(
            f'{len(empty):,} folders hold no picture: {names_lib.shortened(empty)}; where'
            ' they are of train, they keep their places without data'
        )
    return tuple(notes)


def _has_users(listing: listing_lib.Listing, layout: str) -> bool:
    first = listing.paths[0]
    depth = _LAYOUTS.get(layout) or listing.names[0].count(os.sep) + 1
    if depth not in _LAYOUTS.values():
        raise ValueError(f'{first}: expected images at {" or ".join(_LAYOUTS)}/')
    for name, path in zip(listing.names, listing.paths):
        if name.count(os.sep) + 1 != depth:
            raise ValueError(
                f'{path}: {name.count(os.sep)} folder(s) deep, others (or the option'
                f' layout={layout}) are {depth - 1} deep; use one layout'
            )
    return depth == _LAYOUTS['user/identity']


def _check_folders(listing: listing_lib.Listing) -> None:
    """Refuses one folder as two users, which links allow."""
    known: dict[str, str] = {}
    for name in listing.folders:
        first = known.setdefault(os.path.realpath(listing.root / name), name)
        if first != name:
            raise ValueError(
                f'{listing.root / name}: is a link to {first!r}, and a privacy unit must be one'
                ' user; remove the link'
            )


def _read(
    config: base.TaskConfig,
    options: Options,
    listing: listing_lib.Listing,
    places: list[str],
    with_users: bool,
    listed: Optional[dict[str, str]],
) -> converted.Input:
    owners = []
    for name in listing.names:
        folders = names_lib.normal(name).split(os.sep)[:-1]
        user, identity = folders[0], folders[-1]
        if with_users and options.identities == 'own':
            identity = f'{user}/{identity}'
        owners.append((user, identity))
    division = converted.divide(
        options, config.seed, not with_users or options.identities == 'own'
    )
    notes = ()
    if listed is not None:
        division = dataclasses.replace(division, users=listed.get)
        unlisted = sorted({user for user, _ in owners} - set(listed))
        if unlisted:
            notes = (
                f'{len(unlisted):,} users are not in {options.split_file}: left out'
                f' ({names_lib.shortened(unlisted)})',
            )
        places = list(listed)

    def examples() -> Iterator[conversion.Example]:
        for name, path, (user, identity) in zip(listing.names, listing.paths, owners):
            part = division.part(user, identity)
            if part is not None:
                yield conversion.Example(part, user, identity, path, name)

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
    for number, line in enumerate(lists.read_lines(path, known=users), start=1):
        if not line.strip() or line.startswith('#'):
            continue
        part, _, user = line.strip().replace('\t', ' ').partition(' ')
        user = names_lib.normal(user.strip())
        # A folder's name may begin or end with a blank.
        exact = names_lib.normal(line).lstrip()[len(part) + 1 :]
        user = exact if exact in users else user
        if part not in base.PARTS or user not in users:
            raise ValueError(
                f'{path}:{number}: {line!r}: expected "part user" with part one of'
                f' {", ".join(base.PARTS)} and user a folder of the images, or an empty one'
            )
        if parts.setdefault(user, part) != part:
            raise ValueError(f'{path}:{number}: user {user!r} is in {parts[user]} already')
    return parts

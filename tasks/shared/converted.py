"""What tasks with real data share: convert once, check the facts, find it again."""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
from typing import Any, Optional

from dp_fedemb import data
from dp_fedemb import json_files
from dp_fedemb.data import cache
from dp_fedemb.data import names as names_lib
from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from tasks.shared import base
from tasks.shared import splits

_RECORD = 'found.json'
# Part of the cache's key: raise it when the same input gives other stores.
_VERSION = 4


@dataclasses.dataclass(frozen=True)
class Input:
    """What a task found in its files and will convert.

    Attributes:
        examples: the images.
        total: their number, or None if not known.
        facts: counts of the whole data, compared with the published ones.
        notes: what was left out, and why.
        max_broken: images that may be unreadable; more than that stop the conversion.
        train_users: the roster of the part 'train': those without an image keep their
            place in the store.
    """

    examples: Iterable[conversion.Example]
    total: Optional[int]
    facts: tuple[base.Fact, ...] = ()
    notes: tuple[str, ...] = ()
    max_broken: int = 0
    train_users: Iterable[str] = ()


def build(
    config: base.TaskConfig,
    name: str,
    source: Mapping[str, Any],
    preprocessing: preprocessing_lib.Preprocessing,
    read: Callable[[], Input],
    partial: bool = False,
    **task: Any,
) -> base.Task:
    """Converts a task's data, unless the cache holds the same conversion.

    Args:
        config: of the task.
        name: of the task.
        source: fingerprint of the input and the task's options (JSON-able).
        preprocessing: of each image.
        read: called when there is something to convert.
        partial: whether counts other than the published ones are accepted.
        **task: further attributes of the task.

    Raises:
        ValueError: for counts that are not as published, too many broken images, or
            no users in 'train' or 'test'.
    """
    source = {
        **source,
        'version': _VERSION,
        'preprocessing': dataclasses.asdict(preprocessing),
        'seed': config.seed,
        'max_examples_per_user': config.max_examples_per_user,
        'partial': partial,
    }

    def convert(directory):
        read_input = read()
        base.check_facts(name, read_input.facts, partial)
        notes = conversion.convert(
            read_input.examples,
            directory,
            preprocessing,
            read_input.total,
            source=source,
            max_examples_per_user=config.max_examples_per_user,
            seed=config.seed,
            max_broken=read_input.max_broken,
            description=f'converting {name}',
            train_users=read_input.train_users,
        )
        for part in ('train', 'test'):
            if not (directory / part).exists():
                raise ValueError(
                    f'task {name}: no image is left for {part}; there are too few users or'
                    ' identities for this split; raise its fractions, or take another seed'
                )
        record = {
            'facts': [dataclasses.asdict(f) for f in read_input.facts],
            'notes': (*read_input.notes, *notes),
        }
        json_files.write(directory / _RECORD, record)

    stores = cache.cached_stores(config.cache_dir, name, source, convert)
    folder = stores['train'].path.parent
    way_out = f'delete {folder}, and it is converted again'
    record = json_files.read(folder / _RECORD, way_out)
    with json_files.whole(folder / _RECORD, way_out):
        notes = [str(note) for note in record['notes']]
        facts = tuple(base.Fact(**fact) for fact in record['facts'])
        # So that they can be told.
        str(facts)
    broken = conversion.broken_images(folder)
    if broken:
        notes.append(f'{len(broken)} broken images skipped, the first: {broken[0]}')
    return base.Task(
        name=name, expected_facts=facts, notes=tuple(notes), **_parts(stores), **task
    )


def _parts(stores: Mapping[str, data.UserStore]) -> dict[str, data.UserStore]:
    check_disjoint(stores)
    return dict(stores)


def check_disjoint(stores: Mapping[str, data.UserStore]) -> None:
    """Raises ValueError if two parts share a user or an identity."""
    for what in ('user_names', 'identity_names'):
        owner = {}
        for part, store in stores.items():
            for name in map(names_lib.normal, getattr(store, what)):
                if owner.setdefault(name, part) != part:
                    raise ValueError(
                        f'{what.removesuffix("_names")} {name!r} is in {owner[name]} and in'
                        f' {part}'
                    )


def divide(options: base.SplitOptions, seed: int, own_identities: bool) -> splits.Division:
    """Divides users by the hash of their names, and identities by that of theirs.

    Args:
        options: the fractions.
        seed: another seed divides otherwise.
        own_identities: whether no two users share an identity; identities then go with
            their users.
    """
    users = splits.by_hash('user', options.user_fractions, seed)
    if own_identities:
        return splits.Division(users)
    return splits.Division(users, splits.by_hash('identity', options.identity_fractions, seed))


def found(
    counts: Mapping[tuple[str, str], int],
    division: splits.Division,
    examples: Iterable[conversion.Example],
    words: tuple[str, str] = ('users', 'identities'),
    published: tuple[Optional[int], Optional[int], Optional[int]] = (None, None, None),
    notes: tuple[str, ...] = (),
    max_broken: int = 0,
    places: Iterable[str] = (),
) -> Input:
    """Returns the input that a division leaves of what was counted.

    Args:
        counts: number of images of each (user, identity).
        division: of users and identities.
        examples: those that have a part.
        words: what users and identities are called, in the plural.
        published: numbers of users, identities and images.
        notes: more of them.
        max_broken: as in `Input`.
        places: further users, who have no images.
    """
    users = {user for user, _ in counts}
    return Input(
        examples,
        division.kept(counts),
        facts=(
            base.Fact(words[0], len(users), published[0]),
            base.Fact(words[1], len({identity for _, identity in counts}), published[1]),
            base.Fact('images', sum(counts.values()), published[2]),
        ),
        notes=notes + division.notes(counts),
        max_broken=max_broken,
        train_users=division.roster(users.union(places)),
    )

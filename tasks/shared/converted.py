"""What tasks with real data share: convert once, check the facts, find it again."""

import collections
from collections.abc import Callable, Iterable, Mapping
import dataclasses
import json
from typing import Any, Optional

from dp_fedemb import data
from dp_fedemb.data import cache
from dp_fedemb.data import conversion
from dp_fedemb.data import preprocessing as preprocessing_lib
from tasks.shared import base

_RECORD = 'found.json'
# Part of the cache's key: raise it when the same input gives other stores.
_VERSION = 1
_EVALUATED_FIRST = ('test', 'validation', 'public', 'train')


@dataclasses.dataclass(frozen=True)
class Input:
    """What a task found in its files and will convert.

    Attributes:
        examples: the images.
        total: their number, or None if not known.
        facts: counts of the whole data, compared with the published ones.
        notes: what was left out, and why.
        max_broken: images that may be unreadable; more than that stop the conversion.
    """

    examples: Iterable[conversion.Example]
    total: Optional[int]
    facts: tuple[base.Fact, ...] = ()
    notes: tuple[str, ...] = ()
    max_broken: int = 0


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
        found = read()
        base.check_facts(name, found.facts, partial)
        conversion.convert(
            found.examples,
            directory,
            preprocessing,
            found.total,
            source=source,
            max_examples_per_user=config.max_examples_per_user,
            seed=config.seed,
            max_broken=found.max_broken,
            description=f'converting {name}',
        )
        for part in ('train', 'test'):
            if not (directory / part).exists():
                raise ValueError(
                    f'task {name}: no image is left for {part}; there are too few users or'
                    ' identities for this split'
                )
        record = {'facts': [dataclasses.asdict(f) for f in found.facts], 'notes': found.notes}
        (directory / _RECORD).write_text(json.dumps(record, indent=2) + '\n')

    stores = cache.cached_stores(config.cache_dir, name, source, convert)
    folder = stores['train'].path.parent
    record = json.loads((folder / _RECORD).read_text())
    notes = list(record['notes'])
    broken = conversion.broken_images(folder)
    if broken:
        notes.append(f'{len(broken)} broken images skipped, the first: {broken[0]}')
    facts = tuple(base.Fact(**fact) for fact in record['facts'])
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
            for name in getattr(store, what):
                if owner.setdefault(name, part) != part:
                    raise ValueError(
                        f'{what.removesuffix("_names")} {name!r} is in {owner[name]} and in'
                        f' {part}'
                    )


@dataclasses.dataclass(frozen=True)
class Division:
    """Users and identities, both divided among parts.

    An image belongs to a part if its user and its identity do. Others are left out,
    for they would show a training user or a training identity to the evaluation.

    Attributes:
        users: part of each user.
        identities: part of each identity.
    """

    users: Mapping[str, str]
    identities: Mapping[str, str]

    def part(self, user: str, identity: str) -> Optional[str]:
        """Returns the part of an image, or None if it is left out."""
        part = self.users.get(user)
        return part if part == self.identities.get(identity) else None

    def notes(self, counts: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
        """Says how many images and users are left out.

        Args:
            counts: number of images of each (user, identity).
        """
        kept = {pair for pair in counts if self.part(*pair) is not None}
        out = sum(number for pair, number in counts.items() if pair not in kept)
        if not out:
            return ()
        note = (
            f'{out:,} of {sum(counts.values()):,} images are left out, for their user'
            ' belongs to one part and their identity to another'
        )
        empty = {user for user, _ in counts} - {user for user, _ in kept}
        if empty:
            note += f'; so no image is left of {len(empty):,} users'
        return (note,)


def divide(
    counts: Mapping[tuple[str, str], int], options: base.SplitOptions, seed: int
) -> Division:
    """Divides users by the hash of their names, and identities with them.

    An identity whose holders are all in one part goes there, so that where every
    identity has one holder nothing is left out. The identities held in several parts
    are divided by the hash of their names.

    Args:
        counts: number of images of each (user, identity).
        options: the fractions.
        seed: another seed divides otherwise.

    Raises:
        ValueError: if there are too few users.
    """
    users = base.assign((user for user, _ in counts), options.user_fractions, seed)
    return Division(users, divide_identities(counts, users, options, seed))


def divide_identities(
    counts: Mapping[tuple[str, str], int],
    users: Mapping[str, str],
    options: base.SplitOptions,
    seed: int,
) -> dict[str, str]:
    """Returns the part of each identity, as in `divide`.

    Args:
        counts: number of images of each (user, identity).
        users: part of each user; users without one do not count.
        options: the fractions of the identities that are held in several parts.
        seed: another seed divides otherwise.
    """
    holders = collections.defaultdict(set)
    for user, identity in counts:
        if user in users:
            holders[identity].add(users[user])
    parts = {name: min(held) for name, held in holders.items() if len(held) == 1}
    contested = [name for name in holders if name not in parts]
    if not contested:
        return parts
    # Another text is hashed than for users, who may be called the same.
    texts = {name: f'identity {name}' for name in contested}
    # A part that has identities already need not take one from the others.
    lacking = set(users.values()) - set(parts.values())
    wanted = base.assign(
        texts.values(), options.identity_fractions, seed, least=1 if lacking else 0
    )
    for name, text in texts.items():
        held = sorted(holders[name], key=_EVALUATED_FIRST.index)
        parts[name] = wanted[text] if wanted[text] in held else held[0]
    return parts

"""What tasks with real data share: convert once, check the facts, find it again."""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import json
from typing import Any

from dp_fedemb import data
from dp_fedemb.data import cache
from dp_fedemb.data import conversion
from dp_fedemb.data import preprocessing as preprocessing_lib
from tasks import base

_RECORD = 'found.json'


@dataclasses.dataclass(frozen=True)
class Input:
    """What a task found in its files and will convert.

    Attributes:
        examples: the images.
        total: their number.
        facts: counts of the whole data, compared with the published ones.
        notes: what was left out, and why.
        max_broken: images that may be unreadable; more than that stop the conversion.
    """

    examples: Iterable[conversion.Example]
    total: int
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
                        f'{what[: what.index("_")]} {name!r} is in {owner[name]} and in {part}'
                    )


def grid(
    users: Mapping[str, str], identities: Mapping[str, str]
) -> Callable[[str, str], Any]:
    """Splits images whose users and whose identities were both divided.

    An image belongs to a part if its user and its identity do; others are left out,
    for they would show a training user or a training identity to the evaluation.

    Args:
        users: part of each user.
        identities: part of each identity.

    Returns:
        (user, identity) -> part or None.
    """

    def part(user, identity):
        return users[user] if users[user] == identities[identity] else None

    return part

"""Whether a run may have been trained on those whom it is evaluated on.

A run knows nobody by name. What tells another division of a task's people is the number
of them in its parts, and a fingerprint of those whom it was evaluated on at its end.
"""

from collections.abc import Mapping
import json
import pathlib
from typing import Any

from dp_fedemb import files
from dp_fedemb.data import store as store_lib

# No secret: the people of an evaluation are none, but they are not named either.
_KEY = b'people of an evaluation'


def fingerprint(store: store_lib.UserStore) -> str:
    """Returns what tells the people and images of an evaluation from all others."""
    return store.fingerprint(_KEY)


def warning(
    run: pathlib.Path,
    name: str,
    task: str,
    part: str,
    stores: Mapping[str, store_lib.UserStore],
) -> str:
    """Returns why a model's figures may be too good, or nothing.

    Args:
        run: the directory around the model; nothing is said of one without config.json.
        name: of the model.
        task: name of the task that is evaluated on.
        part: of it.
        stores: all of its parts.
    """
    config, own = (_values(run / file) for file in ('config.json', 'evaluation.json'))
    if part == 'train' or config.get('task') != task:
        return ''
    known = config.get('data', {})
    reason = ''
    for each in ('train', part):
        store = stores.get(each)
        if store is None or each not in known:
            continue
        counts = [store.num_users, store.num_identities, store.num_examples]
        if counts != known[each]:
            reason = (
                f'{known[each][0]:,} users and {known[each][2]:,} examples in part {each}, not'
                f' {counts[0]:,} and {counts[2]:,}'
            )
            break
    evaluated = own.get('evaluated') if own.get('part') == part else None
    if not reason and evaluated and evaluated != fingerprint(stores[part]):
        reason = f'others in part {part}'
    if not reason:
        return ''
    return (
        f'WARNING: {name} was trained where the people of the task were divided in another way'
        f' ({reason}). Some of those evaluated here may be among its training users, and its'
        ' figures too good; give the --task_option that it was trained with.'
    )


def _values(path: pathlib.Path) -> Mapping[str, Any]:
    try:
        values = json.loads(files.read_bytes(path))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}

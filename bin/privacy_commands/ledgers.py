"""bin/privacy.py ledger: what was released from the users of a store."""

import dataclasses
import json
import math
import os

from absl import flags

from dp_fedemb import tables
from dp_fedemb.privacy import ledger as ledger_lib
from dp_fedemb.privacy import rounding

FLAGS = flags.FLAGS


def show(store: str) -> None:
    """Lists every release that was made from the users of a store, and their sum."""
    if not os.path.isdir(store):
        raise FileNotFoundError(f'{store}: no such directory; expected that of a store')
    found = ledger_lib.read(store)
    a_store = os.path.exists(os.path.join(store, 'meta.json'))
    if not (found.entries or found.problems or a_store):
        raise FileNotFoundError(
            f'{store}: holds neither a store nor a ledger; name the directory of a training'
            ' store, as bin/prepare.py prints it'
        )
    epsilon, delta = found.spent()
    if FLAGS.json:
        answer = {
            'command': 'ledger',
            'entries': [dataclasses.asdict(entry) for entry in found.entries],
            'runs': list(found.latest()),
            'epsilon_user': epsilon if math.isfinite(epsilon) else None,
            'delta': delta if math.isfinite(epsilon) else None,
            'private': math.isfinite(epsilon),
            'problems': list(found.problems),
        }
        print(json.dumps(answer))
        return
    counted = {id(entry) for entry in found.latest().values()}
    rows = [('', 'rounds', 'epsilon', 'delta', 'run')]
    for entry in found.entries:
        private = entry.epsilon is not None
        figures = [
            rounding.text(x) if private else 'none' for x in (entry.epsilon, entry.delta)
        ]
        mark = '' if id(entry) in counted else '-'
        rows.append((mark, entry.rounds, *figures, entry.directory))
    print(tables.text(rows, 'lrrrl'))
    if len(counted) < len(found.entries):
        print('(- went on, or was begun anew: counted in another entry)')
    for problem in found.problems:
        print(tables.on_one_line(f'PROBLEM: {problem}'))
    if not found.entries:
        print(tables.on_one_line(f'no releases in {store}'))
    elif math.isinf(epsilon):
        print('sum: NOT PRIVATE, a release without a guarantee was made from these users')
    else:
        what = f'sum of {len(counted)} runs'
        if found.problems:
            what = f'at least the {what}, which are all that can be read'
        print(
            f'{what}: ({rounding.text(epsilon)}, {rounding.text(delta)})'
            '-differentially private at the level of users'
        )

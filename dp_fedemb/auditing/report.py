"""audit.json: what an audit saw, beside what is claimed, in words that claim no more."""

from collections.abc import Iterable, Mapping, Sequence
import math
import os
import pathlib
from typing import Any, Optional, Union

from dp_fedemb import files
from dp_fedemb import json_files
from dp_fedemb.evaluation import result_table

NAME = 'audit.json'
WAY_OUT = 'move it away, or choose another output_dir'
MEANING = (
    'A lower bound says that epsilon cannot be smaller, at the stated confidence, in the game'
    ' that was played. One above the claim proves a fault. One below it proves nothing: another'
    ' attack, another user or other data may do better. The guarantee is what the accountant'
    ' proves, not what an audit fails to refute.'
)
OF_CHECKS = (
    'A check that fails proves a fault, but for the probability p that stands beside it. That'
    ' all pass is no epsilon and no proof: they look for known kinds of faults, in what was'
    ' watched.'
)
OF_ATTACKS = (
    'An attack that finds members shows that the model tells of them. One that finds none'
    ' proves nothing: another may find them.'
)
NO_COINS = (
    'No bound: nobody drew who was in this training, and that the two sides differ may be the'
    ' people. For a bound, let membership train models of its own (leave --model out).'
)
NO_ALARM = 'no alarm: nothing was seen that correct code would hardly ever do'


def write(
    directory: Union[str, 'os.PathLike[str]'], command: str, values: Mapping[str, Any]
) -> pathlib.Path:
    """Puts the outcome of a command into a directory's audit.json, beside those of others.

    Args:
        directory: of a run or of a report; made if it is not there.
        command: `noise`, `rounds`, `canaries` or `membership`.
        values: JSON values; an infinite number becomes null.

    Raises:
        ValueError: for an audit.json that is damaged.
    """
    path = pathlib.Path(directory).expanduser() / NAME
    # Another audit of the same directory may end at the same time.
    with files.lock(path):
        known = {**read(path), command: values}
        with json_files.whole(path, WAY_OUT):
            said = meaning_of_all(known)
        json_files.write(path, {**known, 'meaning': said})
    return path


def meaning(values: Mapping[str, Any]) -> str:
    """Returns what the outcome of a command proves, and what not."""
    attacks = values.get('attacks', [])
    said = []
    if 'bounds' in values or any(attack['bound'] for attack in attacks):
        said.append(MEANING)
    elif attacks:
        said.append(OF_ATTACKS)
    if 'checks' in values:
        said.append(OF_CHECKS)
    return ' '.join(said)


def meaning_of_all(known: Mapping[str, Any]) -> str:
    """Returns the same of all commands that a file knows."""
    of_all: dict[str, Any] = {}
    for command in TITLES:
        of_all.update(known.get(command, {}))
    return meaning(of_all)


def finding(bound: Mapping[str, Any]) -> str:
    """Returns in words what refutes a claim (`Estimate.to_json`)."""
    return f'epsilon is at least {bound["lower"]:.4g}, {bound["claimed"]:.4g} is claimed'


def read(path: pathlib.Path) -> dict[str, Any]:
    """Returns what the file holds; nothing where there is none.

    Raises:
        ValueError: for a file that is damaged.
    """
    if not path.exists():
        return {}
    return json_files.read(path, WAY_OUT)


def bounds_table(bounds: Sequence[Mapping[str, Any]]) -> result_table.Table:
    """Returns estimates of epsilon (`Estimate.to_json`, `rounds`, perhaps `seen`)."""
    rows = [
        [
            bound['rounds'],
            f'{bound["seen"]}: {bound["estimator"]}' if 'seen' in bound else bound['estimator'],
            _finite(bound['epsilon']),
            _finite(bound['lower']),
            _finite(bound['claimed'], 'no claim'),
            _finite(bound['tightness'], '-'),
            'ALARM' if bound['alarm'] else '',
        ]
        for bound in bounds
    ]
    levels = sorted({f'{bound["confidence"]:g}' for bound in bounds})
    said = f'shown with confidence {", ".join(levels)}' if levels else 'shown'
    title = f"Epsilon: what was {said}, beside the accountant's claim"
    names = ('rounds', 'estimator', 'estimate', 'at least', 'claimed', 'share', '')
    forms = ('d', '', '.3f', '.3f', '.3f', '.3f', '')
    return _table('bounds', title, zip(names, forms, strict=True), rows, 'rlrrrrl')


def checks_table(checks: Sequence[Mapping[str, Any]]) -> result_table.Table:
    """Returns checks (`Check.to_json`), failed ones marked."""
    rows = [
        [check['name'], check['p_value'], check['seen'], 'FAILED' if check['failed'] else '']
        for check in checks
    ]
    columns = (('check', ''), ('p', '.2g'), ('seen', ''), ('', ''))
    return _table('checks', 'What correct code does', columns, rows, 'lrl')


def membership_table(attacks: Sequence[Mapping[str, Any]]) -> result_table.Table:
    """Returns attacks (`membership.game.Attack.to_json`, and `label`), a row for each rate."""
    rows = [
        [
            attack['label'],
            attack['attack'],
            attack['images'],
            attack['auc'],
            None if attack['bound'] is None else attack['bound']['lower'],
            rate['fpr'],
            rate['tpr'],
            f'{rate["low"]:.4f} to {rate["high"]:.4f}',
            'any' if (rate['allowed_tpr'] or 0) >= 1 else rate['allowed_tpr'],
        ]
        for attack in attacks
        for rate in attack['rates']
    ]
    names = ('training', 'attack', 'on', 'AUC', 'at least', 'FPR', 'TPR', '95%', 'allowed')
    forms = ('', '', '', '.3f', '.3f', 'g', '.4f', '', '.4f')
    columns = zip(names, forms, strict=True)
    return _table('attacks', 'Was this user in training?', columns, rows, 'lllrrrrrr')


def _table(
    name: str, title: str, columns: Iterable[tuple[str, str]], rows: list[list[Any]], sides: str
) -> result_table.Table:
    of = [result_table.Column(*column) for column in columns]
    return result_table.Table(name, title, of, rows, sides=sides.ljust(len(of), sides[-1]))


def _finite(value: Optional[float], absent: str = 'no bound') -> Union[float, str]:
    return absent if value is None or not math.isfinite(value) else value


# Command -> what it attacked.
TITLES = {
    'noise': 'The mechanism alone, at the settings of the plan',
    'rounds': 'A few rounds of a real run, watched',
    'canaries': 'A training with canaries',
    'membership': 'Membership of users in trained models',
}

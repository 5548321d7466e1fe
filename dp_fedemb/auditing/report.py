"""audit.json: what an audit saw, beside what is claimed, in words that claim no more."""

from collections.abc import Mapping, Sequence
import math
import os
import pathlib
from typing import Any, Optional, Union

from dp_fedemb import files
from dp_fedemb import json_files
from dp_fedemb import tables

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


def read(path: pathlib.Path) -> dict[str, Any]:
    """Returns what the file holds; nothing where there is none.

    Raises:
        ValueError: for a file that is damaged.
    """
    if not path.exists():
        return {}
    return json_files.read(path, WAY_OUT)


def bounds_table(bounds: Sequence[Mapping[str, Any]]) -> str:
    """Returns estimates of epsilon (`Estimate.to_json`, and `rounds`) as a table."""
    rows: list[Sequence[Any]] = [
        ('rounds', 'estimator', 'estimate', 'at least', 'claimed', 'share', '')
    ]
    for bound in bounds:
        rows.append(
            (
                bound['rounds'],
                bound['estimator'],
                _number(bound['epsilon']),
                _number(bound['lower']),
                _number(bound['claimed'], 'no claim'),
                _number(bound['tightness'], '-'),
                'ALARM' if bound['alarm'] else '',
            )
        )
    return tables.text(rows, 'rlrrrrl', indent=2)


def checks_table(checks: Sequence[Mapping[str, Any]]) -> str:
    """Returns checks (`Check.to_json`) as a table, failed ones marked."""
    rows: list[Sequence[Any]] = [('check', 'p', 'seen', '')]
    for check in checks:
        mark = 'FAILED' if check['failed'] else ''
        rows.append((check['name'], f'{check["p_value"]:.2g}', check['seen'], mark))
    return tables.text(rows, 'lrl', indent=2)


def membership_table(attacks: Sequence[Mapping[str, Any]]) -> str:
    """Returns attacks (`membership.game.Attack.to_json`, and `label`) as a table."""
    rows: list[Sequence[Any]] = [
        ('training', 'attack', 'on', 'AUC', 'at least', 'FPR', 'TPR', '95%', 'allowed')
    ]
    for attack in attacks:
        for rate in attack['rates']:
            rows.append(
                (
                    attack['label'],
                    attack['attack'],
                    attack['images'],
                    f'{attack["auc"]:.3f}',
                    '-' if attack['bound'] is None else f'{attack["bound"]["lower"]:.3f}',
                    f'{rate["fpr"]:g}',
                    f'{rate["tpr"]:.4f}',
                    f'{rate["low"]:.4f} to {rate["high"]:.4f}',
                    _allowed(rate['allowed_tpr']),
                )
            )
    return tables.text(rows, 'lllrrrrrr', indent=2)


def _allowed(rate: Optional[float]) -> str:
    if rate is None:
        return '-'
    return f'{rate:.4f}' if rate < 1 else 'any'


def _number(value: Optional[float], absent: str = 'no bound') -> str:
    return absent if value is None or not math.isfinite(value) else f'{value:.3f}'


# Command -> what it attacked.
TITLES = {
    'noise': 'The mechanism alone, at the settings of the plan',
    'rounds': 'A few rounds of a real run, watched',
    'canaries': 'A training with canaries',
    'membership': 'Membership of users in trained models',
}

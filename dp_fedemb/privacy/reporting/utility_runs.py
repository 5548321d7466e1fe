"""Finished runs as points of a utility curve: their noise-to-signal ratio and recall."""

from collections.abc import Callable, Mapping, Sequence
import csv
import dataclasses
import io
import os
import pathlib
from typing import Any, NamedTuple, Union

from dp_fedemb import files
from dp_fedemb import json_files
from dp_fedemb import validate
from dp_fedemb.privacy import mechanisms
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import sampling as sampling_lib
from dp_fedemb.privacy.factorization import server as server_lib
from dp_fedemb.privacy.reporting import utility

_WAY_OUT = 'restore it, or leave the run out'
_CONFIG, _EVALUATION = 'config.json', 'evaluation.json'


class Point(NamedTuple):
    """One run.

    Attributes:
        name: where it is from.
        ratio: of independent noise on the mean over C that leaves as much in the model.
        recall: of unseen identities.
    """

    name: str
    ratio: float
    recall: float


@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs that differ in their noise alone.

    Attributes:
        points: a run each.
        users_per_virtual_client: k.
        rounds: of each.
        server: its steps.
    """

    points: tuple[Point, ...]
    users_per_virtual_client: int
    rounds: int
    server: server_lib.Server


def read_table(path: Union[str, os.PathLike]) -> list[Point]:
    """Returns the points of a CSV file with columns `ratio` and `recall`.

    Raises:
        ValueError: for other columns, or what is no number.
    """
    path = pathlib.Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f'{path}: is no file; expected a table, CSV')
    try:
        # As spreadsheets save it, with a mark in front.
        text = files.read_bytes(path).decode('utf-8-sig')
        reader = csv.DictReader(io.StringIO(text, newline=''))
        rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f'{path}: no CSV in UTF-8 ({error}); save it again') from None
    missing = {'ratio', 'recall'} - set(reader.fieldnames or ())
    if missing:
        raise ValueError(f'{path}: no column {", ".join(sorted(missing))}; expected both')
    points = []
    for number, row in rows:
        try:
            ratio, recall = float(row['ratio']), float(row['recall'])
            validate.within('[0, 1e9]', ratio=ratio)
            validate.probability(recall=recall)
        except (TypeError, ValueError):
            raise ValueError(
                f'{path}, line {number}: ratio={row["ratio"]!r}, recall={row["recall"]!r}:'
                ' expected two numbers, of at least 0 and from 0 to 1'
            ) from None
        points.append(Point(f'line {number}', ratio, recall))
    return points


def read(directories: Sequence[Union[str, os.PathLike]], metric: str) -> Runs:
    """Returns the runs in directories, or in those below them.

    Args:
        directories: each of a run, or holding those of several.
        metric: as evaluation.json names it.

    Raises:
        FileNotFoundError: for a directory without runs.
        ValueError: for a run that is not finished, has no such metric, or differs from the
            others in more than its noise.
    """
    found = [run for directory in directories for run in _runs(pathlib.Path(directory))]
    configs = [json_files.read(run / _CONFIG, _WAY_OUT) for run in found]
    for run, config in zip(found, configs):
        if 'plan' not in config:
            raise ValueError(
                f'{run}: is no run, its {_CONFIG} has no plan; give the directories of runs'
            )
        with json_files.whole(run / _CONFIG, _WAY_OUT):
            different = _different(configs[0], config)
        if different:
            raise ValueError(
                f'{run}: {different[0]} is not that of {found[0]}; expected runs that differ in'
                ' noise, sampling or cohort alone'
            )
    with json_files.whole(found[0] / _CONFIG, _WAY_OUT):
        first = configs[0]['training']
        server = server_lib.Server(
            first.get('server_momentum', 0.0), first.get('server_lr_schedule', 'constant')
        )
        plan = plan_of(configs[0]['plan'])
    points = []
    for run, config in zip(found, configs):
        with json_files.whole(run / _CONFIG, _WAY_OUT):
            ratio = utility.equivalent_ratio(plan_of(config['plan']), server)
        points.append(Point(str(run), ratio, _recall(run, metric)))
    return Runs(tuple(points), plan.users_per_virtual_client, plan.rounds, server)


def plan_of(known: Mapping[str, Any]) -> plan_lib.PrivacyPlan:
    """Returns the plan that `PrivacyPlan.to_json` wrote.

    Raises:
        ValueError: for mechanisms or samplers that are not known.
    """
    values = dict(known)
    choices: dict[str, Mapping[str, Callable[..., Any]]] = {
        'mechanism': mechanisms.MECHANISMS,
        'sampling': sampling_lib.SAMPLINGS,
    }
    for kind, classes in choices.items():
        given = dict(known[kind])
        name = given.pop('name')
        validate.one_of(kind, name, classes)
        given.pop('strategy', None)  # The plan finds it again.
        values[kind] = classes[name](**{n: v for n, v in given.items() if v is not None})
    return plan_lib.PrivacyPlan(**values)


def _runs(directory: pathlib.Path) -> list[pathlib.Path]:
    if (directory / _CONFIG).exists():
        return [directory]
    found = sorted(path.parent for path in directory.glob(f'*/{_CONFIG}'))
    if not found:
        raise FileNotFoundError(f'{directory}: expected a run, or a directory of runs')
    return found


def _different(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of what two configurations do not share, but for noise, sampling and cohort."""
    names = []
    for name in sorted(first.keys() | other.keys()):
        one: Any = first.get(name)
        two: Any = other.get(name)
        if name == 'plan':
            for field in ('users_per_virtual_client', 'rounds'):
                if one[field] != two[field]:
                    names.append(f'{field}={two[field]}')
            if one['mechanism']['clip_norm'] != two['mechanism']['clip_norm']:
                names.append(f'clip_norm={two["mechanism"]["clip_norm"]}')
        elif one != two:
            names.append(f'{name}={two}')
    return names


def _recall(run: pathlib.Path, metric: str) -> float:
    path = run / _EVALUATION
    scores = json_files.read(path, _WAY_OUT) if path.exists() else {}
    if 'trained' not in scores:
        raise ValueError(f'{run}: not finished, it has no evaluation; run it to its end')
    with json_files.whole(path, _WAY_OUT):
        trained = dict(scores['trained'].items())
    validate.one_of('metric', metric, trained)
    with json_files.whole(path, _WAY_OUT):
        recall = float(trained[metric])
        validate.probability(recall=recall)
        return recall

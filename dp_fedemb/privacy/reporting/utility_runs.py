"""Finished runs as points of a utility curve: their noise-to-signal ratio and recall."""

from collections.abc import Callable, Mapping, Sequence
import csv
import dataclasses
import json
import os
import pathlib
from typing import Any, NamedTuple, Union

from dp_fedemb import validate
from dp_fedemb.privacy import mechanisms
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import sampling as sampling_lib
from dp_fedemb.privacy.factorization import server as server_lib
from dp_fedemb.privacy.reporting import utility

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
    with open(path, newline='') as file:
        reader = csv.DictReader(file)
        missing = {'ratio', 'recall'} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f'{path}: no column {", ".join(sorted(missing))}; expected both')
        points = []
        for row in reader:
            try:
                numbers = float(row['ratio']), float(row['recall'])
            except (TypeError, ValueError):
                raise ValueError(
                    f'{path}, line {reader.line_num}: ratio={row["ratio"]!r},'
                    f' recall={row["recall"]!r}: expected two numbers'
                ) from None
            points.append(Point(f'line {reader.line_num}', *numbers))
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
    configs = [json.loads((run / _CONFIG).read_text()) for run in found]
    for run, config in zip(found, configs):
        for name in _different(configs[0], config):
            raise ValueError(
                f'{run}: {name} is not that of {found[0]}; expected runs that differ in noise,'
                ' sampling or cohort alone'
            )
    first = configs[0]['training']
    server = server_lib.Server(
        first.get('server_momentum', 0.0), first.get('server_lr_schedule', 'constant')
    )
    points = tuple(
        Point(
            str(run),
            utility.equivalent_ratio(plan_of(config['plan']), server),
            _recall(run, metric),
        )
        for run, config in zip(found, configs)
    )
    plan = configs[0]['plan']
    return Runs(points, plan['users_per_virtual_client'], plan['rounds'], server)


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
    try:
        scores = json.loads((run / _EVALUATION).read_text())['trained']
    except (FileNotFoundError, KeyError):
        raise ValueError(
            f'{run}: not finished, it has no evaluation; run it to its end'
        ) from None
    validate.one_of('metric', metric, scores)
    return float(scores[metric])

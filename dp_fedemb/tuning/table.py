"""Tables as data: a TOML file is a table of the paper, its rows are flags.

title = 'Learning rate of the head'
question = 'What the figure is to answer.'
x = 'head_lr_scale'         column across the figure
by = 'method'               column that tells its lines apart
log_x = true                optional, as is log_y
flags = {rounds = 100}      of every cell, after those of the task's configuration

[scales.small]              smoke, small, paper; a scale may have
flags = {rounds = 20}           flags of every cell, before those of the rows
seeds = [1, 2, 3]               a cell for each; one without a seed by default

[[rows]]
shown = {method = 'FedEmb'} columns of the table
program = 'train'           or pretrain, or privacy with command = 'extrapolate'
flags = {head = 'linear'}
without = ['clip_norm']     flags of the configuration that the row leaves out
vary = {head_lr_scale = [1, 10]}    a cell for every combination
cases.small = [{...}, ...]  a cell for each of these flags, at that scale
only = ['small', 'paper']   scales that have the row; smoke has the first row alone
start = {...}               flags of a bin/pretrain.py that trains the start
"""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import pathlib
import tomllib
from typing import Any, Union

from dp_fedemb import validate
from dp_fedemb.tuning import cells as cells_lib

SCALES = ('smoke', 'small', 'paper')
Flags = dict[str, Any]
# Flags of the data and the model, which all programs that train have.
_SHARED = (
    'task',
    'task_option',
    'data_dir',
    'cache_dir',
    'data_seed',
    'max_examples_per_user',
    'backbone',
    'embedding_dim',
    'head',
    'head_scale',
    'head_margin',
)
_ROW = {'shown', 'program', 'command', 'flags', 'without', 'vary', 'cases', 'only', 'start'}


@dataclasses.dataclass(frozen=True)
class Table:
    """A table before it is filled.

    Attributes:
        name: of its file.
        title: what it is called.
        question: what it is to answer.
        x: column across the figure.
        by: column that tells the figure's lines apart.
        y: column up the figure.
        log_x: whether x is logarithmic.
        log_y: whether y is.
        flags: of every cell.
        scales: by name, `flags` and `seeds`.
        rows: as in the file.
    """

    name: str
    title: str
    question: str
    x: str
    by: str
    rows: Sequence[Mapping[str, Any]]
    y: str = 'recall@FAR=0.001'
    log_x: bool = False
    log_y: bool = False
    flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    scales: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read(path: Union[str, pathlib.Path]) -> Table:
    """Returns the table of a file.

    Raises:
        ValueError: in one line, for what is not one.
    """
    path = pathlib.Path(path)
    try:
        content = tomllib.loads(path.read_text())
        rows = content['rows']
        for number, row in enumerate(rows, start=1):
            validate.one_of('scale of only', *_first_unknown(row.get('only', ()), SCALES))
            for key in row:
                validate.one_of(f'key of row {number}', key, sorted(_ROW))
        for scale in content.get('scales', {}):
            validate.one_of('scale', scale, SCALES)
        return Table(name=path.stem, **content)
    except (
        *(tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError),
        RecursionError,
    ) as error:
        raise ValueError(f'{path.name}: no table of cells ({error})') from None


def read_flags(path: Union[str, pathlib.Path]) -> Flags:
    """Returns the flags of a .flags file; --task_option as a list.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: for a line that is no flag.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path.name}: no such flag file')
    found: Flags = {}
    try:
        lines = path.read_text('utf-8').splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f'{path.name}: no text in UTF-8 ({error})') from None
    for line in map(str.strip, lines):
        if not line or line.startswith('#'):
            continue
        if not line.startswith('--') or '=' not in line:
            raise ValueError(f'{path.name}: {line!r}: expected --NAME=VALUE')
        name, _, value = line[2:].partition('=')
        merge(found, {name: [value] if name == 'task_option' else value})
    return found


def merge(flags: Flags, more: Mapping[str, Any]) -> Flags:
    """Sets flags over others in place; task options one by one, by their names.

    Options of a task say nothing to another one, and go with it.
    """
    if 'task' in flags and more.get('task', flags['task']) != flags['task']:
        flags.pop('task_option', None)
    for name, value in more.items():
        if name != 'task_option':
            flags[name] = value
            continue
        options = dict(text.partition('=')[::2] for text in flags.get(name, ()))
        options |= dict(text.partition('=')[::2] for text in _list(value))
        flags[name] = [f'{key}={text}' for key, text in options.items()]
    return flags


def cells(
    table: Table, scale: str, configuration: Mapping[str, Any], last: Mapping[str, Any]
) -> list[cells_lib.Cell]:
    """Returns the cells of a table at a scale, those that others start from first.

    Args:
        table: see `read`.
        scale: one of `SCALES`.
        configuration: flags of the task.
        last: flags over all others.

    Raises:
        ValueError: for cells that repeat one another.
    """
    validate.one_of('scale', scale, SCALES)
    of_scale = table.scales.get(scale, {})
    starts: list[cells_lib.Cell] = []
    found: list[cells_lib.Cell] = []
    rows = [row for row in table.rows if scale in row.get('only', SCALES)]
    # Seed by seed, so that a table that is half run has whole seeds.
    seeds = of_scale.get('seeds', [None])
    for seed in seeds:
        earlier = list(found)
        for row, case in [(each, case) for each in rows for case in _cases(each, scale)]:
            cell, start = _cell(table, of_scale, row, case, seed, configuration, last)
            if start is not None and start not in starts:
                starts.append(start)
            # What has no seed is there once; the same within a seed repeats, and is refused.
            if cell not in earlier:
                found.append(cell)
            if scale == 'smoke':
                return [*starts, *found]
    cells_lib.check_different([*starts, *found])
    return [*starts, *found]


def _cell(
    table: Table,
    of_scale: Mapping[str, Any],
    row: Mapping[str, Any],
    case: Mapping[str, Any],
    seed: Any,
    configuration: Mapping[str, Any],
    last: Mapping[str, Any],
) -> 'tuple[cells_lib.Cell, Any]':
    program = row.get('program', 'train')
    shown = {**row.get('shown', {}), **{name: _short(value) for name, value in case.items()}}
    name = cells_lib.name_of([*(f'{k}={v}' if k in case else v for k, v in shown.items())])
    flags: Flags = {}
    layers = [table.flags, of_scale.get('flags', {}), row.get('flags', {}), case]
    if program == 'train':
        merge(flags, configuration)
        for layer in layers:
            merge(flags, layer)
    elif program == 'pretrain':
        for layer in [configuration, table.flags, of_scale.get('flags', {})]:
            merge(flags, {k: v for k, v in layer.items() if k in _SHARED})
        for layer in layers[2:]:
            merge(flags, layer)
    else:
        for layer in layers[2:]:
            merge(flags, layer)
    for absent in row.get('without', ()):
        flags.pop(absent, None)
    if seed is not None and program != 'privacy':
        flags['seed'] = seed
        shown['seed'] = seed
        name = f'{name}_seed={seed}'
    taken = last
    if program != 'train':
        taken = {k: v for k, v in last.items() if k in _SHARED} if program == 'pretrain' else {}
    merge(flags, taken)
    if program == 'privacy':
        flags['output'] = f'WORK/{name}/plan.png'
    start = None
    if 'start' in row:
        start_flags = {k: v for k, v in flags.items() if k in _SHARED}
        start_name = cells_lib.name_of(['start', *row.get('shown', {}).values()])
        start = cells_lib.Cell(start_name, 'pretrain', merge(start_flags, row['start']), {})
        flags['pretrained'] = f'WORK/{start_name}/run'
    cell = cells_lib.Cell(name, program, flags, shown, row.get('command', ''))
    return cell, start


def _cases(row: Mapping[str, Any], scale: str) -> list[dict[str, Any]]:
    vary = row.get('vary', {})
    products = [dict(zip(vary, values)) for values in itertools.product(*vary.values())]
    cases = row.get('cases', {}).get(scale, [{}])
    return [{**case, **product} for case in cases for product in products]


def _short(value: Any) -> Any:
    if value == '':
        return 'none'
    return ', '.join(map(str, value)) if isinstance(value, list) else value


def _list(value: Any) -> list[str]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _first_unknown(values: Sequence[str], known: Sequence[str]) -> 'tuple[str, Sequence[str]]':
    return next((value for value in values if value not in known), known[0]), known

#!/usr/bin/env python3
"""Fills a table of the paper: runs its cells, and writes table, figure and records.

    bin/reproduce.py --table=privacy_utility --task=omniglot --scale=small --data_dir=DATA \\
        --output_dir=runs/privacy_utility
    bin/reproduce.py --table=virtual_clients --task=emnist --scale=paper --dry_run
    bin/reproduce.py --table=all --task=synthetic --scale=smoke --output_dir=runs/smoke

Tables are files in tasks/tables/. Scales: smoke is the first cell on a handful of users,
small is for an afternoon, paper is what the paper trained (tasks/configs/paper/). The same
command again goes on where it was, cell by cell. Flags after `--` are set over those of
every cell.
"""

import os
import pathlib
import shutil
import sys

from absl import flags

from flags import estimating
from flags import from_settings
from flags import many_runs
from flags import program
from flags import ROOT

from dp_fedemb import configured_directory
from dp_fedemb import files
from dp_fedemb import pathnames
from dp_fedemb import validate
from dp_fedemb.tuning import results
from dp_fedemb.tuning import running
from dp_fedemb.tuning import table as table_lib
from tasks import synthetic

FLAGS = flags.FLAGS
_TABLES = ROOT / 'tasks' / 'tables'
_CONFIGS = ROOT / 'tasks' / 'configs'
NAMES = sorted(path.stem for path in _TABLES.glob('*.toml'))

flags.DEFINE_string('table', None, f'One of {", ".join(NAMES)}, or all.')
flags.DEFINE_string('task', 'omniglot', 'Task, see tasks/.')
flags.DEFINE_enum('scale', 'small', list(table_lib.SCALES), 'How large, see above.')
flags.DEFINE_string('data_dir', None, "Directory of the task's official files.")
flags.DEFINE_string('cache_dir', 'data_cache', 'Where converted data are kept.')
flags.DEFINE_string('output_dir', None, 'Of the table; of all tables, with one in each.')
flags.DEFINE_string(
    'grid', None, 'A table of your own in place of --table, as a TOML file like theirs.'
)
flags.DEFINE_string(
    'publish',
    None,
    'Directory that gets table, figure and records of each table, without what cells left.',
)
flags.DEFINE_bool(
    'dry_run', False, 'Print every command, with hours and memory by a step measured here.'
)
flags.DEFINE_integer('jobs', os.cpu_count(), 'Cells side by side.', 1, 1024)

_ENGINE = ('--engine=in_process', '--client_parallelism=1')
_PLACES = ('output_dir', 'data_dir', 'cache_dir', 'engine', 'client_parallelism')
_OWN = (*_PLACES, 'task')
_PUBLISHED = ('table.md', 'table.csv', 'figure.png')


def main(last):
    last = _last(last)
    names = NAMES if FLAGS.table == 'all' else [FLAGS.table]
    if FLAGS.grid is None:
        validate.one_of('table', FLAGS.table, [*NAMES, 'all'])
    paths = [_TABLES / f'{name}.toml' for name in names]
    if FLAGS.grid is not None:
        paths = [pathlib.Path(FLAGS.grid)]
        if not paths[0].is_file():
            raise FileNotFoundError(f'grid={FLAGS.grid!r}: no such file')
    if FLAGS.output_dir is not None:
        pathnames.check_place(output_dir=FLAGS.output_dir)
    if FLAGS.task == synthetic.NAME:
        from_settings.refuse_unused('a task that draws its data', 'data_dir')
    configuration = _configuration()
    jobs = []
    for path in paths:
        table = table_lib.read(path)
        cells = table_lib.cells(table, FLAGS.scale, configuration, last)
        if FLAGS.publish is not None:
            _check_publish(table.name)
        directory = None
        if not FLAGS.dry_run:
            directory = _directory(table.name if len(paths) > 1 else '')
            directory.check(_config(table, cells))
        jobs.append((table, cells, directory))
    every = [cell for _, cells, _ in jobs for cell in cells]
    _check_own(every)
    facts = _check(every)
    if FLAGS.dry_run:
        programs = _programs(pathlib.Path('WORK'))
        found = [facts[id(cell)] for cell in every]
        estimating.dry_run(every, found, programs, FLAGS.task, FLAGS.jobs)
        return
    failed = 0
    for table, cells, directory in jobs:
        failed += _fill(table, cells, directory)
    if failed:
        sys.exit(1)


def _last(words):
    found = {}
    for word in words:
        name, equals, value = word.removeprefix('--').partition('=')
        if not word.startswith('--') or not equals:
            raise ValueError(f'argument {word!r}: expected --NAME=VALUE')
        if name in _OWN:
            raise ValueError(f'{word} after "--": set --{name} before it')
        if name == 'seed':
            raise ValueError(
                'seed after "--": a seed is a secret, and the records of a table name all'
                ' flags; leave it out'
            )
        table_lib.merge(found, {name: [value] if name == 'task_option' else value})
    return found


def _configuration():
    """Flags of the task at the scale."""
    folder = _CONFIGS / 'paper' if FLAGS.scale == 'paper' else _CONFIGS
    path = folder / f'{FLAGS.task}.flags'
    # The one task that has no configuration of its own name.
    if FLAGS.task == 'synthetic' and FLAGS.scale != 'paper':
        path = folder / 'demo.flags'
    known = sorted(each.stem for each in folder.glob('*.flags'))
    if not path.is_file():
        raise ValueError(
            f'task={FLAGS.task!r} at scale {FLAGS.scale}: expected one of {", ".join(known)}'
        )
    found = table_lib.read_flags(path)
    for absent in ('data_dir', 'rounds_per_checkpoint', 'pretrained'):
        found.pop(absent, None)
    found = {name: value for name, value in found.items() if not name.startswith('pretrain_')}
    sizes = _TABLES / FLAGS.scale / f'{FLAGS.task}.flags'
    if sizes.is_file():
        table_lib.merge(found, table_lib.read_flags(sizes))
    elif FLAGS.scale == 'smoke':
        raise ValueError(f'task={FLAGS.task!r} has no smoke scale: expected one of {_smoke()}')
    return found


def _smoke():
    return ', '.join(sorted(path.stem for path in (_TABLES / 'smoke').glob('*.flags')))


def _directory(name):
    if FLAGS.output_dir is None:
        raise ValueError('output_dir is not given: set --output_dir')
    path = pathlib.Path(FLAGS.output_dir)
    return configured_directory.ConfiguredDirectory(path / name if name else path, 'table')


def _config(table, cells):
    return {
        'table': table.name,
        'task': FLAGS.task,
        'scale': FLAGS.scale,
        'cells': {cell.name: cell.to_json() for cell in cells},
    }


def _data(cell):
    """Where the data of a cell are."""
    if cell.program == 'privacy':
        return []
    given = [f'--cache_dir={pathlib.Path(FLAGS.cache_dir).absolute()}']
    # A cell of another task than the table's, which draws its data.
    if FLAGS.data_dir is not None and cell.flags.get('task') != synthetic.NAME:
        given.append(f'--data_dir={pathlib.Path(FLAGS.data_dir).absolute()}')
    return given


def _check_own(cells):
    """Refuses what a grid may not decide: where things are, and what the ledger gets."""
    for cell in cells:
        for name in (*_PLACES, 'trial_of_selection'):
            if name in cell.flags:
                raise ValueError(
                    f'cell {cell.name!r}: {name}={cell.flags[name]!r} is not for a grid to say;'
                    ' leave it out'
                )


def _check(cells):
    """Refuses what a program would refuse; returns facts by cell."""
    facts = {}
    for name in many_runs.PROGRAMS:
        mine = [cell for cell in cells if cell.program == name]
        if not mine:
            continue
        answer = many_runs.ask(
            {
                'program': name,
                'runs': [[*cell.arguments(), *_data(cell)] for cell in mine],
                'names': [cell.name for cell in mine],
                'without_data': FLAGS.dry_run,
                'outputs': {'output_dir': FLAGS.output_dir, 'publish': FLAGS.publish},
            }
        )
        facts |= {id(cell): found for cell, found in zip(mine, answer['runs'])}
    return facts


def _programs(work):
    places = {'CODE': ROOT, 'CACHE': pathlib.Path(FLAGS.cache_dir).absolute(), 'WORK': work}
    if FLAGS.data_dir is not None:
        places['DATA'] = pathlib.Path(FLAGS.data_dir).absolute()

    def added(cell):
        return [*_data(cell), *(_ENGINE if cell.program == 'train' else ())]

    needed = [places[name] for name in ('CACHE', 'DATA') if name in places]
    return running.Programs(ROOT / 'bin', added, places, needed=needed)


def _fill(table, cells, directory):
    """Runs the cells of a table that are missing and writes it; returns how many failed."""
    with directory.locked():
        directory.begin(_config(table, cells))
        work = directory.path / 'work'
        records = directory.path / 'cells'
        starts = [cell for cell in cells if not cell.shown]
        rest = [cell for cell in cells if cell.shown]
        failures = {}
        try:
            for part, what in ((starts, f'{table.name}, starts'), (rest, table.name)):
                if part:
                    failures |= running.run(
                        part, _programs(work), work, records, FLAGS.jobs, what
                    )
        finally:
            # Also when it is stopped: what has ended stands, and the table says how much.
            _write(table, rest, directory, records)
            if FLAGS.publish is not None:
                _publish(directory.path, pathlib.Path(FLAGS.publish) / table.name)
    for name, why in failures.items():
        print(f'cell {name} failed: {why} (work/{name}/{running.LOG})', file=sys.stderr)
    print(f'outputs: {directory.path}: table.md, table.csv, figure.png, cells/', flush=True)
    return len(failures)


def _check_publish(name):
    """Refuses to replace what is no table that was published before."""
    pathnames.check_place(publish=FLAGS.publish)
    to = pathlib.Path(FLAGS.publish) / name
    inside = {each.name for each in to.iterdir()} if to.is_dir() else set()
    if (to.exists() and not to.is_dir()) or inside - {*_PUBLISHED, 'cells'}:
        raise FileExistsError(
            f'publish={FLAGS.publish!r}: {to} is there and is no table that was published;'
            ' choose another directory'
        )


def _publish(path, to):
    """Copies what may be read by anyone: no run, which holds its seed."""
    with files.appearing_directory(to, replace=True) as draft:
        for name in _PUBLISHED:
            if (path / name).exists():
                shutil.copyfile(path / name, draft / name)
        if (path / 'cells').is_dir():
            shutil.copytree(path / 'cells', draft / 'cells', copy_function=shutil.copyfile)


def _write(table, cells, directory, records):
    # Matplotlib takes a second.
    from dp_fedemb.evaluation.figures import drawing
    from dp_fedemb.tuning import figures

    found = running.read_records(cells, records)
    rows = [row for record in found.values() for row in results.rows(record)]
    metrics = [name for name in results.headings(rows) if name.startswith('recall')]
    merged = results.over_seeds(rows, metrics)
    title = f'# {table.title}\n\n{table.question}\n\n'
    told = f'{len(found)} of {len(cells)} cells, task {FLAGS.task}, scale {FLAGS.scale}.\n\n'
    directory.write_text('table.md', title + told + results.to_markdown(merged))
    directory.write_text('table.csv', results.to_csv(rows))
    picture = figures.lines(
        merged, table.x, table.y, table.by, log_x=table.log_x, log_y=table.log_y
    )
    if picture is not None:
        drawing.save({'figure': picture}, directory.path)
    print(results.to_markdown(merged), flush=True)


if __name__ == '__main__':
    program.run(main, positional=sys.maxsize)

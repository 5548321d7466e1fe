"""bin/reproduce.py: every table is checked; cells run, go on, and fail alone."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from dp_fedemb.tuning import table as table_lib

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / 'bin'))

from flags import estimating  # noqa: E402
from flags import many_runs  # noqa: E402

RUN = (
    f'import runpy; runpy.run_path({str(ROOT / "bin" / "reproduce.py")!r}, run_name="__main__")'
)
TABLES = sorted(path.stem for path in (ROOT / 'tasks' / 'tables').glob('*.toml'))
NAMED = {
    'privacy_utility',
    'scaling',
    'virtual_clients',
    'head_lr',
    'head_first',
    'freezing',
    'pretraining',
    'local_steps',
    'schedules',
    'clip_norm',
    'loss',
    'adaptive_clipping',
    'mechanisms',
}
SIZES = ('num_users=30', 'test_identities=10', 'public_identities=0', 'image_size=16')
PAPER = ('digiface', 'emnist', 'inaturalist', 'landmarks')


def reproduce(tmp_path, *arguments, out='out'):
    return subprocess.run(
        [
            sys.executable,
            str(ROOT / 'bin' / 'reproduce.py'),
            f'--output_dir={tmp_path / out}',
            f'--cache_dir={tmp_path / "cache"}',
            *arguments,
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
    )


def test_every_table_has_cells_at_every_scale():
    assert set(TABLES) == NAMED
    for name in TABLES:
        table = table_lib.read(ROOT / 'tasks' / 'tables' / f'{name}.toml')
        for task in PAPER:
            flags = table_lib.read_flags(ROOT / 'tasks' / 'configs' / 'paper' / f'{task}.flags')
            assert len(table_lib.cells(table, 'paper', flags, {})) > 1
        flags = table_lib.read_flags(ROOT / 'tasks' / 'configs' / 'omniglot.flags')
        small = table_lib.cells(table, 'small', flags, {})
        assert len(small) > len(table_lib.cells(table, 'smoke', flags, {}))
    assert table.title


def test_options_go_with_their_task():
    table = table_lib.read(ROOT / 'tasks' / 'tables' / 'pretraining.toml')
    flags = table_lib.read_flags(ROOT / 'tasks' / 'configs' / 'omniglot.flags')
    tasks = {cell.flags['task']: cell for cell in table_lib.cells(table, 'small', flags, {})}
    assert tasks['omniglot'].flags['task_option'] == ['public_alphabets=6']
    names = {text.partition('=')[0] for text in tasks['synthetic'].flags['task_option']}
    assert names == {'public_identities', 'num_users', 'test_identities'}


def test_three_seeds_where_a_claim_is_tested():
    flags = table_lib.read_flags(ROOT / 'tasks' / 'configs' / 'omniglot.flags')
    for name in ('privacy_utility', 'virtual_clients'):
        table = table_lib.read(ROOT / 'tasks' / 'tables' / f'{name}.toml')
        cells = table_lib.cells(table, 'small', flags, {})
        assert {cell.flags['seed'] for cell in cells} == {1, 2, 3}


def test_what_the_paper_made_public_is_there():
    flags = table_lib.read_flags(ROOT / 'tasks' / 'configs' / 'paper' / 'emnist.flags')
    public = {
        'virtual_clients_per_round': '32',
        'users_per_virtual_client': '8',
        'local_epochs': '8',
        'batch_size': '32',
        'client_lr': '0.005',
        'client_momentum': '0.9',
        'head_lr_scale': '100',
        'server_lr': '0.02',
        'server_momentum': '0.9',
        'rounds': '200',
        'clip_norm': '1.0',
        'noise_multiplier': '0.62',
    }
    assert {name: flags[name] for name in public} == public
    assert 8 * int(flags['max_examples_per_user']) == 2048
    for task in PAPER:
        text = (ROOT / 'tasks' / 'configs' / 'paper' / f'{task}.flags').read_text()
        assert 'our\n# choice' in text or 'Our choice' in text


def test_sizes_to_estimate_by():
    for task in (*PAPER, 'omniglot'):
        assert estimating.size_of(task, {})['examples_per_user'] > 0
    drawn = estimating.size_of('synthetic', {'task_option': ['images_per_identity=7']})
    assert drawn == {'examples_per_user': 28, 'side': 28, 'channels': 1}
    assert estimating.size_of('omniglot', {'task_option': ['user=drawer']}) is None
    assert estimating.size_of('lfw', {}) is None


GRID = """
title = 'A grid'
question = 'What is refused?'
x = 'client_lr'
by = 'method'
[[rows]]
shown = {method = 'FedEmb'}
only = ['small', 'smoke']
"""


@pytest.mark.parametrize(
    'change, words',
    [
        ('flags = {no_such_flag = 1}', "cell 'FedEmb': Unknown command line flag"),
        ("flags = {rounds = 'many'}", 'many'),
        ("[[rows]]\nshown = {method = 'again'}", 'are the same run'),
        ('vary = {client_lr = [0.1, 0.1]}', 'are the same run'),
        ("colour = 'red'", 'key of row 1'),
        ('vary = {', 'no table of cells'),
    ],
)
def test_bad_grids_are_refused_in_one_line(tmp_path, change, words):
    grid = tmp_path / 'grid.toml'
    grid.write_text(GRID + change + '\n')
    configuration = table_lib.read_flags(ROOT / 'tasks' / 'configs' / 'demo.flags')
    if 'flags' in change:
        scale = ('--task=synthetic', '--scale=smoke')
        result = reproduce(tmp_path, f'--grid={grid}', '--table=all', *scale)
        line = result.stderr.strip().splitlines()[-1]
        assert result.returncode != 0 and not (tmp_path / 'out').exists(), result.stderr
    else:
        with pytest.raises(ValueError, match='.') as error:
            table_lib.cells(table_lib.read(grid), 'small', configuration, {})
        line = str(error.value)
        assert '\n' not in line
    assert words in line


def test_flags_of_one_run_are_not_those_of_the_next(tmp_path):
    grid = tmp_path / 'grid.toml'
    named = "without = ['mechanism', 'target_epsilon'"
    private = f'{named}]\nflags = {{noise_multiplier = 1, clip_norm = 1}}\n'
    grid.write_text(
        GRID.replace("only = ['small', 'smoke']\n", private)
        + f"[[rows]]\nshown = {{method = 'none'}}\n{named}, 'clip_norm']\n"
    )
    table = table_lib.read(grid)
    flags = table_lib.read_flags(ROOT / 'tasks' / 'configs' / 'demo.flags')
    flags |= {'task_option': [*SIZES], 'cache_dir': str(tmp_path / 'cache'), 'rounds': 1}
    flags |= {'virtual_clients_per_round': 2, 'users_per_virtual_client': 2}
    cells = table_lib.cells(table, 'small', flags, {})
    # Twice, since what is restored the first time may be lost the second.
    runs = [cell.arguments() for cell in [*cells, *cells]]
    answer = many_runs.ask({'program': 'train', 'runs': runs})
    assert [facts['private'] for facts in answer['runs']] == [True, False, True, False]


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--table=losses'], "table='losses'"),
        (['--table=loss', '--task=lfw', '--scale=smoke'], 'smoke scale'),
        (['--table=loss', '--', '--seed'], "argument '--seed'"),
        (['--table=loss', '--grid=nothing.toml'], 'no such file'),
        (['--table=loss', '--', '--seed=27182'], 'a seed is a secret'),
        (['--table=loss', '--task=synthetic'], 'output_dir is not given'),
    ],
)
def test_refusals(privacy_process, arguments, words):
    code, _, error, _ = privacy_process(*arguments, script=RUN)
    assert code != 0 and len(error.strip().splitlines()) == 1 and words in error, error


@pytest.mark.parametrize('name', ['output_dir', 'data_dir', 'trial_of_selection'])
def test_a_grid_says_nothing_of_places_and_ledgers(privacy_process, tmp_path, name):
    grid = tmp_path / 'grid.toml'
    grid.write_text(GRID + f"flags = {{{name} = 'x'}}\n")
    arguments = (f'--grid={grid}', '--task=synthetic', '--scale=small', '--dry_run')
    code, _, error, _ = privacy_process(*arguments, script=RUN)
    assert code == 2 and error.count('\n') == 1 and f"cell 'FedEmb': {name}='x'" in error


def test_missing_data(tmp_path):
    result = reproduce(tmp_path, '--table=loss', '--task=omniglot', '--scale=smoke')
    assert result.returncode != 0 and 'data_dir=None' in result.stderr.splitlines()[-1]
    assert not (tmp_path / 'out').exists()


def test_a_cell_from_the_command_to_the_table(tmp_path):
    published = tmp_path / 'published'
    arguments = ('--table=loss', '--task=synthetic', '--scale=smoke', f'--publish={published}')
    result = reproduce(tmp_path, *arguments)
    assert result.returncode == 0, result.stderr[-2000:]
    out = tmp_path / 'out'
    copied = {path.name for path in (published / 'loss').rglob('*') if path.is_file()}
    assert copied == {
        'table.md',
        'table.csv',
        'figure.png',
        'FedEmb_clipped_head=linear.json',
    }
    assert '1 of 1 cells' in (out / 'table.md').read_text()
    assert (out / 'table.csv').read_text().startswith('method,head,recall@FAR=0.001')
    assert (out / 'figure.png').exists()
    (record,) = [json.loads(path.read_text()) for path in (out / 'cells').iterdir()]
    assert record['command_line'].startswith('bin/train.py --task=synthetic')
    assert str(tmp_path) not in json.dumps(record)
    assert record['wall_seconds'] > 0 and record['evaluation']['trained']
    again = reproduce(tmp_path, *arguments)
    assert again.returncode == 0
    (same,) = [json.loads(path.read_text()) for path in (out / 'cells').iterdir()]
    assert same == record
    other = reproduce(tmp_path, '--table=head_lr', '--task=synthetic', '--scale=smoke')
    assert other.returncode != 0 and 'belongs to a table with' in other.stderr


@pytest.mark.soak
def test_one_cell_of_every_table(tmp_path):
    result = reproduce(tmp_path, '--table=all', '--task=synthetic', '--scale=smoke')
    assert result.returncode == 0, result.stderr[-3000:]
    for name in TABLES:
        assert (tmp_path / 'out' / name / 'table.md').exists(), name


@pytest.mark.soak
@pytest.mark.parametrize('task', [*PAPER, 'omniglot'])
def test_a_cell_on_official_files(task, tmp_path, official_files):
    """Files of the official formats, made by the tests."""
    result = reproduce(
        tmp_path,
        '--table=privacy_utility',
        f'--task={task}',
        '--scale=smoke',
        f'--data_dir={official_files(task)}',
    )
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.soak
@pytest.mark.parametrize('task', PAPER)
def test_a_dry_run_of_the_paper(task, tmp_path):
    result = reproduce(
        tmp_path, '--table=virtual_clients', f'--task={task}', '--scale=paper', '--dry_run'
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert 'hours on' in result.stdout and result.stdout.count('bin/train.py') == 6
    assert not (tmp_path / 'out').exists()

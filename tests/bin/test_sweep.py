"""bin/sweep.py: what is refused, in one line and before anything runs; its three modes."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from dp_fedemb.evaluation import verification as evaluation
from dp_fedemb.privacy import ledger

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN = f'import runpy; runpy.run_path({str(ROOT / "bin" / "sweep.py")!r}, run_name="__main__")'
DEMO = '--flagfile=' + str(ROOT / 'tasks' / 'configs' / 'demo.flags')


@pytest.fixture
def refused(privacy_process, tmp_path):
    """Function from arguments to the one line that refuses them."""

    def call(*arguments):
        out = tmp_path / 'sweep'
        code, printed, error, _ = privacy_process(f'--output_dir={out}', *arguments, script=RUN)
        assert code != 0 and not out.exists(), printed
        assert len(error.strip().splitlines()) == 1, error
        return error

    return call


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--mode=public'], 'nothing to search'),
        (['--mode=public', '--vary=client_lr=1', '--grid=x.toml'], 'or twice'),
        (['--mode=public', '--grid=x.toml'], 'no such file'),
        (['--mode=public', '--vary=client_lr=1', '--total_epsilon=3'], 'nothing is accounted'),
        (['--mode=composed', '--vary=seed=1,2'], 'vary seed'),
        (
            ['--mode=composed', '--vary=client_lr=1', '--', '--target_epsilon=3'],
            '--total_epsilon',
        ),
        (['--mode=public', '--vary=client_lr=1', '--', '--output_dir=x'], 'sets output_dir'),
        (['--mode=public', '--vary=client_lr=1', '--', 'runs'], "argument 'runs'"),
        (['--mode=selection', '--vary=client_lr=1', '--mean_trials=0.5'], 'mean_trials=0.5'),
        (['--mode=public', '--vary=client_lr=0.1,0.10'], 'twice'),
        (['--mode=public', '--vary=client_lr=1', '--metric=recall'], "metric='recall'"),
        (
            ['--mode=selection', '--vary=client_lr=1', '--', '--budget_epsilon=9'],
            'not against the selection',
        ),
    ],
)
def test_refusals_without_data(refused, arguments, words):
    assert words in refused(*arguments)


def test_metrics_are_those_of_an_evaluation(refused):
    message = refused('--mode=public', '--vary=client_lr=1', '--metric=recall')
    for far in evaluation.FARS:
        assert f'recall@FAR={far:g}' in message


TINY = (
    '--task=synthetic',
    '--task_option=num_users=120',
    '--task_option=image_size=16',
    '--task_option=test_identities=20',
    '--task_option=validation_identities=20',
    '--task_option=public_identities=0',
    '--task_option=images_per_identity=4',
    '--rounds=1',
    '--virtual_clients_per_round=4',
    '--users_per_virtual_client=3',
    '--clip_norm=1.0',
    '--rounds_per_eval=0',
    '--backbone=small_conv',
    '--embedding_dim=8',
)


def sweep(tmp_path, *arguments):
    head, _, base = ' '.join(arguments).partition(' -- ')
    return subprocess.run(
        [
            sys.executable,
            str(ROOT / 'bin' / 'sweep.py'),
            f'--output_dir={tmp_path / "sweep"}',
            *head.split(),
            '--',
            *TINY,
            f'--cache_dir={tmp_path / "cache"}',
            *base.split(),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
    )


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--mode=public --vary=no_such_flag=1,2'], 'no_such_flag'),
        (['--mode=composed --vary=client_lr=1,2'], 'have no epsilon'),
        (['--mode=composed --vary=client_lr=1,2 --total_epsilon=9 -- --seed=3'], 'share their'),
    ],
)
def test_refusals_with_data(tmp_path, arguments, words):
    result = sweep(tmp_path, *arguments)
    assert result.returncode != 0 and words in result.stderr.splitlines()[-1], result.stderr
    assert not (tmp_path / 'sweep').exists()


def test_no_figures_among_pictures(tmp_path, privacy_process):
    """They would be pictures of a user the next time; nothing is read or converted before."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    task = ('--task=image_folder', f'--data_dir={folder}')
    out = f'--output_dir={folder / "sweep"}'
    calls = [
        (
            RUN,
            (out, '--mode=public', '--vary=client_lr=0.1,1', '--users_are_public', '--', *task),
        ),
        (
            RUN.replace('sweep.py', 'reproduce.py'),
            (out, '--table=loss', '--scale=small', *task),
        ),
    ]
    for script, arguments in calls:
        code, printed, error, _ = privacy_process(*arguments, script=script)
        assert code == 2 and f"output_dir='{folder}/sweep': lies in" in error, printed
        assert len(error.splitlines()) == 1 and not list(folder.iterdir())


def store(here):
    (found,) = (here / 'cache').rglob('train/privacy_ledger.json')
    return found.parent


def verified(directory):
    """Accounts a search again from the statement of what it released."""
    program = [sys.executable, str(ROOT / 'bin' / 'privacy.py')]
    result = subprocess.run(
        [*program, 'tuned', str(directory)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.soak
def test_three_modes(tmp_path):
    """Composed and private selection meet their total; the selection shows one model."""
    for mode in ('public', 'composed', 'selection'):
        here = tmp_path / mode
        total = () if mode == 'public' else ('--total_epsilon=30',)
        command = (f'--mode={mode}', '--vary=client_lr=0.1,0.3', '--mean_trials=2', *total)
        result = sweep(here, *command)
        assert result.returncode == 0, result.stderr[-2000:]
        out = here / 'sweep'
        if mode == 'selection':
            statement = json.loads((out / 'released' / 'privacy.json').read_text())
            assert 29 < statement['epsilon_user'] <= 30 and statement['private']
            assert {path.name for path in out.iterdir()} == {'released', 'config.json'}
            (entry,) = ledger.read(store(here)).entries[-1:]
            assert entry.epsilon == statement['epsilon_user']
            verified(out / 'released')
            again = sweep(here, *command)
            assert 'finished' in again.stdout
            continue
        assert len((out / 'table.csv').read_text().splitlines()) == 3
        assert (out / 'trials.png').stat().st_size > 5000
        if mode == 'composed':
            for run in (out / 'trials').iterdir():
                statement = json.loads((run / 'run' / 'privacy.json').read_text())
                assert 29 < statement['epsilon_user'] <= 30 and statement['private']
                verified(run / 'run')
        other = sweep(here, '--mode=public', '--vary=client_lr=0.1,0.4')
        assert other.returncode != 0 and 'belongs to a sweep' in other.stderr

"""bin/pretrain.py as it is called: a start, again, and what it refuses."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TASK = [
    '--task=synthetic',
    '--task_option=num_users=40',
    '--task_option=test_identities=60',
    '--task_option=public_identities=60',
    '--task_option=image_size=16',
    '--task_option=public_style=handwriting',
    '--embedding_dim=16',
]


@pytest.fixture(scope='module')
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp('workspace')


def pretrain(workspace, *arguments):
    return subprocess.run(
        [
            sys.executable,
            str(ROOT / 'bin' / 'pretrain.py'),
            *TASK,
            '--batch_size=32',
            *arguments,
        ],
        cwd=workspace,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope='module')
def start(workspace):
    """First run: the public part, 8 epochs."""
    return pretrain(workspace, '--output_dir=start', '--epochs=8')


def test_writes_a_start_that_is_better_than_none(workspace, start):
    assert start.returncode == 0, start.stderr
    scores = json.loads((workspace / 'start' / 'evaluation_test.json').read_text())
    before, after = scores['untrained'], scores['trained']
    assert after['recall@FAR=0.01'] > before['recall@FAR=0.01'] + 0.05, scores
    assert 'trained ' in start.stdout and 'recall@FAR=0.001' in start.stdout
    assert 'NOT PRIVATE' not in start.stdout
    assert {path.name for path in (workspace / 'start').iterdir()} == {
        'config.json',
        'metrics.csv',
        'saved_model',
        'privacy.json',
        'privacy.txt',
        'evaluation_test.json',
    }
    assert len((workspace / 'start' / 'metrics.csv').read_text().splitlines()) == 9
    assert 'images_per_second' not in start.stdout and 'image/s' in start.stderr


def test_again_says_that_it_is_finished(workspace, start):
    del start
    again = pretrain(workspace, '--output_dir=start', '--epochs=8')
    assert again.returncode == 0 and 'holds the result of this command already' in again.stdout
    assert 'image/s' not in again.stderr and 'recall@FAR=0.001' in again.stdout


def test_baseline_from_a_start_says_loudly_that_it_is_not_private(workspace, start):
    del start
    run = pretrain(
        workspace,
        '--output_dir=baseline',
        '--part=train',
        '--pretrained=start',
        '--epochs=1',
        '--pretrained_partial',
        '--head=cosface',
        '--augmentation=glyph:shift=0.1',
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count('NOT PRIVATE') >= 3
    assert 'pretrained weights of start/saved_model: 14 of 14 matched' in run.stdout
    statement = json.loads((workspace / 'baseline' / 'privacy.json').read_text())
    assert statement['private'] is False and 'NOT PRIVATE' in statement['notice']


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--output_dir=start', '--epochs=7'], 'pretraining.training.epochs=8.0, not 7.0'),
        (['--output_dir=new', '--task_option=public_identities=0'], 'part=public: task synth'),
        (['--output_dir=new', '--pretrained=start', '--embedding_dim=8'], 'do not fit'),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(workspace, start, arguments, words):
    del start
    run = pretrain(workspace, '--epochs=8', *arguments)
    assert run.returncode == 2
    error = [line for line in run.stderr.splitlines() if line.startswith('error: ')]
    assert len(error) == 1 and words in error[0], run.stderr
    assert 'Traceback' not in run.stderr and not (workspace / 'new').exists()

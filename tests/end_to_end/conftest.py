"""Runs the binaries as their users do."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Small enough for seconds, with everything that a real run has.
TINY = (
    '--task=synthetic',
    '--task_option=num_users=120',
    '--task_option=image_size=16',
    '--task_option=test_identities=40',
    '--task_option=public_identities=20',
    '--task_option=images_per_identity=4',
    '--rounds=3',
    '--virtual_clients_per_round=4',
    '--users_per_virtual_client=3',
    '--clip_norm=1.0',
    '--noise_multiplier=0.8',
    '--rounds_per_eval=2',
    '--rounds_per_checkpoint=2',
    '--backbone=small_conv',
    '--embedding_dim=8',
    '--client_parallelism=2',
)


@pytest.fixture(scope='session')
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='session')
def run_binary(cache_dir):
    """Function from a binary's name and arguments to its completed process."""

    def run(name, *arguments, cwd=ROOT):
        arguments = [str(argument) for argument in arguments]
        if name in ('train', 'pretrain', 'evaluate', 'prepare', 'embed'):
            arguments.append(f'--cache_dir={cache_dir}')
        return subprocess.run(
            [sys.executable, str(ROOT / 'bin' / f'{name}.py'), *arguments],
            capture_output=True,
            text=True,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
        )

    return run


@pytest.fixture(scope='session')
def tiny():
    """Flags of a tiny run."""
    return TINY


@pytest.fixture(scope='session')
def tiny_run(run_binary, tmp_path_factory):
    """A finished tiny run: its directory, and what it printed."""
    directory = tmp_path_factory.mktemp('runs') / 'tiny'
    result = run_binary(
        'train',
        *TINY,
        '--pretrained=public',
        '--pretrain_epochs=1',
        f'--output_dir={directory}',
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return directory, result

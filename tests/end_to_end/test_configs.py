"""Every published configuration parses and trains two rounds on tiny official files."""

import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / 'tasks' / 'configs').glob('*.flags'))

# Sizes only: the algorithm, sampler, mechanism and head are those of the file.
SMALL = (
    '--rounds=2',
    '--virtual_clients_per_round=2',
    '--users_per_virtual_client=2',
    '--backbone=small_conv',
    '--embedding_dim=8',
    '--rounds_per_eval=0',
    '--client_parallelism=1',
)
SMALL_TASK = {
    'synthetic': (
        'num_users=30',
        'test_identities=10',
        'public_identities=10',
        'image_size=16',
        'identities_per_user=2',
        'images_per_identity=3',
    ),
    'omniglot': ('partial=true',),
    'emnist': ('partial=true',),
    'digiface': ('partial=true', 'image_size=16', 'validation_users=0', 'test_users=0.4'),
    'landmarks': ('partial=true', 'image_size=16', 'test_users=0.3', 'test_identities=0.4'),
    'inaturalist': ('partial=true', 'image_size=16', 'test_users=0.3', 'test_identities=0.4'),
    'lfw': ('partial=true', 'image_size=16'),
    'image_folder': ('image_size=16', 'test_users=0.3', 'identities=own'),
}


def flags_of(path):
    lines = [line.strip() for line in path.read_text().splitlines()]
    return dict(
        line[2:].partition('=')[::2] for line in lines if line and not line.startswith('#')
    )


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_two_rounds(path, official_files, run_binary, tmp_path):
    flags = flags_of(path)
    task = flags['task']
    extra = [f'--task_option={option}' for option in SMALL_TASK[task]]
    if flags.get('pretrained') == 'public':
        extra.append('--pretrain_epochs=1')
    if task != 'synthetic':
        extra.append(f'--data_dir={official_files(task)}')
    if task == 'lfw':  # Two people are left to train on.
        extra.append('--users_per_virtual_client=1')
    result = run_binary(
        'train', f'--flagfile={path}', *SMALL, *extra, f'--output_dir={tmp_path / "run"}'
    )
    assert result.returncode == 0, result.stdout[-500:] + result.stderr[-2000:]
    statement = json.loads((tmp_path / 'run' / 'privacy.json').read_text())
    assert statement['rounds_completed'] == 2
    noised = 'noise_multiplier' in flags or 'target_epsilon' in flags
    assert statement['private'] == noised


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_it_says_what_it_is(path):
    assert path.read_text().startswith('# ')

"""bin/audit.py as it is called: what it prints, writes and refuses."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def call(*arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / 'bin' / 'audit.py'), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_noise_is_audited_and_written(tmp_path):
    code, out, err = call(
        'noise',
        '--num_users=160',
        '--virtual_clients_per_round=80',
        '--users_per_virtual_client=2',
        '--noise_multiplier=1.5',
        '--rounds=4',
        '--coordinates=1024',
        '--audited_runs=2',
        f'--output_dir={tmp_path}',
    )
    assert code == 0, err
    assert 'no alarm' in out and 'proves nothing' in out and 'at least' in out
    values = json.loads((tmp_path / 'audit.json').read_text())
    assert {bound['rounds'] for bound in values['noise']['bounds']} == {1, 4}
    assert not any(check['failed'] for check in values['noise']['checks'])
    assert all(bound['lower'] < bound['claimed'] for bound in values['noise']['bounds'])


@pytest.mark.soak
def test_run_that_begins_with_a_model_is_watched():
    code, out, err = call(
        'rounds',
        *(f'--task_option={size}' for size in ('num_users=24', 'image_size=16')),
        '--backbone=lenet',
        '--embedding_dim=4',
        '--virtual_clients_per_round=4',
        '--users_per_virtual_client=2',
        '--rounds=2',
        '--watched_rounds=2',
        '--watched_clients=2',
        '--clip_norm=0.5',
        '--noise_multiplier=1',
        '--engine=in_process',
        '--pretrained=public',
        '--pretrain_epochs=1',
        '--json',
    )
    assert code == 0, err
    values = json.loads(out)
    assert values['start'] == 'pretrained on the public part of task synthetic'
    names = {check['name'] for check in values['checks'] if not check['failed']}
    assert 'the statement counts what the start has seen' in names
    # For the first run and for that of another seed, of one training.
    assert err.count('pretrained weights of') == 2 and err.count('training on 200') > 0


def test_bad_input_is_one_line():
    for arguments, named in (
        ((), 'no command'),
        (('noise', '--num_users=3400', '--mechanism=clip_only'), 'adds no noise'),
        (('rounds', '--model=/'), 'give the flags of the run'),
        (('membership', '--model=/', '--epsilons=3'), 'a finished run has its own'),
    ):
        code, out, err = call(*arguments)
        lines = [line for line in err.splitlines() if line.startswith('error: ')]
        assert code == 2 and out == '' and len(lines) == 1 and named in lines[0]

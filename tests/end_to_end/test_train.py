"""bin/train.py and what belongs to it, from the command line to the files."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import evaluation
from dp_fedemb import privacy
from dp_fedemb.gallery import thresholds


def one_line_error(result):
    """The error of a failed program, which must be a single line."""
    assert result.returncode == 2, result.stdout[-2000:] + result.stderr[-2000:]
    lines = [line for line in result.stderr.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1 and 'Traceback' not in result.stderr, result.stderr[-2000:]
    return lines[0]


def test_a_run_prints_recall_before_and_after_and_its_epsilon(tiny_run):
    directory, result = tiny_run
    statement = json.loads((directory / 'privacy.json').read_text())
    for text in (
        'untrained',
        'pretrained',
        'trained',
        'recall@FAR=0.001',
        'recall@FAR=0.01',
        'thresholds of bin/embed.py verify --far=...: 0.1, 0.01',
        f'epsilon = {privacy.rounded_up_text(statement["epsilon_user"])}',
        'unit: one user',
        str(directory),
    ):
        assert text in result.stdout
    # The progress bar: round, rate, epsilon, time left.
    assert 'round 3/3' in result.stderr
    assert 'examples/s' in result.stderr and 'epsilon ' in result.stderr
    assert 'ServiceManager' not in result.stderr and 'Traceback' not in result.stderr


def test_what_a_run_writes(tiny_run):
    directory, _ = tiny_run
    names = {path.name for path in directory.iterdir()}
    assert names == {
        'config.json',
        'metrics.csv',
        'tensorboard',
        'checkpoints',
        'privacy.json',
        'privacy.txt',
        'saved_model',
        'pretrained',
        'evaluation.json',
    }
    with open(directory / 'metrics.csv') as file:
        assert [int(row['round']) for row in csv.DictReader(file)] == [0, 1, 2, 3]
    statement = json.loads((directory / 'privacy.json').read_text())
    assert statement['rounds_completed'] == 3 and statement['seed_given'] is False


def test_the_model_takes_uint8_and_returns_unit_norm(tiny_run):
    directory, _ = tiny_run
    model = tf.saved_model.load(str(directory / 'saved_model'))
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 1), np.uint8)
    embeddings = model(images)['embeddings'].numpy()
    assert embeddings.shape == (5, 8)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    signature = model.signatures['serving_default'](images=tf.constant(images))
    np.testing.assert_allclose(signature['embeddings'], embeddings, rtol=1e-5)


def test_the_same_command_again_says_that_it_is_finished(tiny_run, run_binary, tiny):
    directory, _ = tiny_run
    before = {path: path.stat().st_mtime_ns for path in directory.rglob('*')}
    result = run_binary(
        'train',
        *tiny,
        '--pretrained=public',
        '--pretrain_epochs=1',
        f'--output_dir={directory}',
    )
    assert result.returncode == 0 and 'This run is finished: 3 rounds' in result.stdout
    assert {path: path.stat().st_mtime_ns for path in directory.rglob('*')} == before


@pytest.mark.parametrize(
    'flag, words',
    [
        ('--clip_norm=2', 'clip_norm='),
        ('--local_lr_schedule=step', "client.local_lr_schedule='constant', not 'step'"),
    ],
)
def test_another_configuration_is_refused(tiny_run, run_binary, tiny, flag, words):
    directory, _ = tiny_run
    # As it began but for the one flag.
    same = [*tiny, '--pretrained=public', '--pretrain_epochs=1']
    result = run_binary('train', *same, flag, f'--output_dir={directory}')
    error = one_line_error(result)
    assert str(directory) in error and 'choose another directory' in error
    assert words in error


def test_evaluate_finds_what_the_run_found(tiny_run, run_binary, tiny):
    directory, _ = tiny_run
    task = [flag for flag in tiny if flag.startswith('--task')]
    result = run_binary('evaluate', f'--model={directory}', *task, '--json')
    assert result.returncode == 0, result.stderr[-2000:]
    own = json.loads((directory / 'evaluation.json').read_text())
    found = json.loads(result.stdout)
    name = 'recall@FAR=0.01'
    assert found['metrics'][name] == pytest.approx(own['trained'][name], abs=1e-6)
    for name in ('task', 'part', 'num_users', 'image_shape', 'embedding_dim'):
        assert own[name] == found[name], name
    assert own['evaluated'] and not any('WARNING' in line for line in found['about'])
    # Embedded in other batches, so that a pair at the threshold may fall on its other side.
    assert [point['reason'] for point in own['points']] == [
        point['reason'] for point in found['points']
    ]
    for one, other in zip(own['points'], found['points']):
        for name in ('recall', 'low', 'high', 'threshold'):
            assert one[name] == pytest.approx(other[name], abs=0.01), name


def test_a_run_is_enough_to_verify_with(tiny_run):
    directory, _ = tiny_run
    model = evaluation.load_model(directory)
    known = thresholds.find(model.path, model.fingerprint)
    assert known.path == directory / 'evaluation.json'
    assert known.genuine_pairs > 0 and known.at(0.01).recall > 0
    assert any(point.target_far is None for point in known.points)


def test_the_privacy_command_gives_the_epsilon_of_the_run(tiny_run, run_binary):
    directory, _ = tiny_run
    statement = json.loads((directory / 'privacy.json').read_text())
    result = run_binary(
        'privacy',
        'epsilon',
        '--num_users=120',
        '--virtual_clients_per_round=4',
        '--users_per_virtual_client=3',
        '--noise_multiplier=0.8',
        '--rounds=3',
        '--json',
    )
    answer = json.loads(result.stdout)
    for name in ('epsilon_user', 'epsilon_virtual_client', 'delta', 'sensitivity_over_clip'):
        assert answer[name] == pytest.approx(statement[name])


def test_a_pretrained_start_with_other_shapes_is_refused(tiny_run, run_binary, tiny, tmp_path):
    directory, _ = tiny_run
    result = run_binary(
        'train',
        *tiny,
        '--embedding_dim=16',
        f'--pretrained={directory}',
        f'--output_dir={tmp_path / "run"}',
    )
    assert 'embeddings/kernel' in one_line_error(result)


@pytest.mark.parametrize(
    'flags, words',
    [
        (['--task=nope'], "task='nope': expected one of"),
        (['--backbone=nope'], "backbone='nope': expected one of"),
        (['--head=nope'], "head='nope': expected one of"),
        (['--clip_norm=-1'], 'clip_norm=-1.0: expected a number of at least'),
        (['--rounds=0'], 'rounds=0: expected a whole number of at least 1'),
        (['--virtual_clients_per_round=500'], 'lower one of the first two'),
        (['--delta=0.5'], 'delta=0.5'),
        (['--client_lr=0'], 'client_lr=0.0'),
        (['--client_lr_schedule=nope'], "client_lr_schedule='nope': expected one of"),
        (['--local_lr_schedule=nope'], "local_lr_schedule='nope': expected one of"),
        (['--task_option=nope=1'], 'task synthetic has no such option'),
        (['--mechanism=tree', '--sampling=poisson'], 'use sampling=min_separation'),
        (['--mechanism=none'], 'it neither clips nor noises'),
        (['surplus'], "unexpected argument 'surplus'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run_binary, tiny, tmp_path, flags, words):
    result = run_binary('train', *tiny, *flags, f'--output_dir={tmp_path / "run"}')
    assert words in one_line_error(result)
    assert not list(tmp_path.iterdir())


def test_noise_without_a_clip(run_binary, tiny, tmp_path):
    flags = [flag for flag in tiny if not flag.startswith('--clip_norm')]
    result = run_binary('train', *flags, f'--output_dir={tmp_path / "run"}')
    assert 'set clip_norm' in one_line_error(result)
    assert not list(tmp_path.iterdir())


def test_missing_output_dir_is_a_usage_error(run_binary):
    result = run_binary('train')
    assert result.returncode != 0 and 'output_dir' in result.stdout + result.stderr

"""A task of float32 series trains, is evaluated and exported; no file of ours knows it."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRIVER = pathlib.Path(__file__).with_name('series_task.py')


def run(binary, cache_dir, *flags):
    result = subprocess.run(
        [
            sys.executable,
            DRIVER,
            ROOT / 'bin' / f'{binary}.py',
            '--task=series',
            f'--cache_dir={cache_dir}',
            *flags,
        ],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ['PYTHONPATH']]),
            'TF_CPP_MIN_LOG_LEVEL': '3',
        },
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_series_are_trained_on_evaluated_and_exported(tmp_path):
    output = tmp_path / 'run'
    run(
        'train',
        tmp_path,
        '--rounds=2',
        '--virtual_clients_per_round=4',
        '--users_per_virtual_client=2',
        '--clip_norm=1.0',
        '--noise_multiplier=0.5',
        '--embedding_dim=8',
        f'--output_dir={output}',
    )
    scores = json.loads((output / 'evaluation.json').read_text())
    assert {'untrained', 'trained'} <= set(scores)
    embed = tf.saved_model.load(str(output / 'saved_model')).signatures['serving_default']
    (spec,) = embed.structured_input_signature[1].values()
    assert spec.dtype == tf.float32 and spec.shape.as_list() == [None, 12, 3]
    series = np.random.default_rng(0).normal(size=(5, 12, 3)).astype(np.float32)
    vectors = embed(examples=tf.constant(series))['embeddings'].numpy()
    assert vectors.shape == (5, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert np.abs(vectors - vectors[0]).max() > 1e-3
    found = json.loads(run('evaluate', tmp_path, f'--model={output}', '--json'))
    assert found['num_images'] == 240 and found['num_identities'] == 60

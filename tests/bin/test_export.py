"""bin/export.py as it is called, and what it refuses."""

import json

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from dp_fedemb import models

SHAPE = (16, 16, 1)
TASK = [
    '--task=synthetic',
    '--task_option=num_users=4',
    '--task_option=test_identities=30',
    '--task_option=public_identities=0',
    '--task_option=image_size=16',
    '--cache_dir=cache',
]


@pytest.fixture(scope='module')
def workspace(tmp_path_factory):
    """A small untrained model, and a folder of pictures."""
    path = tmp_path_factory.mktemp('workspace')
    tf.keras.utils.set_random_seed(0)
    built = models.build_embedding_model('small_conv', SHAPE, 8)
    models.ServingModel(built.build_backbone(), SHAPE).save(str(path / 'run/saved_model'))
    (path / 'photos').mkdir()
    generator = np.random.default_rng(0)
    for number in range(5):
        pixels = generator.integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(path / f'photos/{number}.png')
    return path


@pytest.fixture(scope='module')
def run(workspace, start_program):
    call = start_program('export', workspace)
    return lambda *arguments: call('--model=run', *arguments)


def test_folder_table_and_notes(run, workspace):
    code, output, errors = run(
        *TASK, '--formats=saved_model,tflite_int8', '--public_pictures=photos'
    )
    assert code == 0, errors
    lines = output.splitlines()
    assert lines[:2] == [
        'saved_model: written, read and compared',
        'tflite_int8: written, read and compared',
    ]
    written = json.loads((workspace / 'run/export/formats.json').read_text())
    assert written['checked_on'] == '120 images, part test of task synthetic'
    assert written['calibration'].startswith('5 pictures that are public')
    recall = written['formats']['tflite_int8']['recall']['0.01']
    assert any(
        line.split()[0] == 'tflite_int8' and line.split()[-1] == f'{recall:.4f}'
        for line in lines[3:]
    )
    assert 'note: the model card has no evaluation' in output


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--model=nowhere'], "model='nowhere': no such directory"),
        (['--formats=exe'], "formats='exe': expected one of saved_model, keras, onnx"),
        ([*TASK, '--part=train'], "part='train': expected one of test, validation, public"),
        (['--output_dir=photos'], 'is not empty and holds no export'),
        (['--public_pictures=run'], "public_pictures='run': no picture in it or below"),
        (['--evaluation=nowhere'], "evaluation='nowhere': no such file"),
        (['--fars=few'], "fars='few': expected numbers"),
        (['--fars=2'], 'fars=2.0: expected a number of at least 1e-12 and below 1'),
    ],
)
def test_bad_input_is_one_line(run, workspace, arguments, words):
    before = sorted(workspace.rglob('*'))
    code, output, errors = run(*arguments)
    assert code == 2 and not output
    assert words in errors.strip().splitlines()[-1] and 'Traceback' not in errors
    assert sorted(workspace.rglob('*')) == before

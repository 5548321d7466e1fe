"""A folder to give away: every format by its own runtime, a true card, and no secrets."""

import importlib.util
import json
import pathlib
import resource
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import evaluation
from dp_fedemb import export
from dp_fedemb import host_error
from dp_fedemb import models
from dp_fedemb.data.images.preprocessing import Preprocessing
from dp_fedemb.evaluation import collection
from dp_fedemb.export import formats
from dp_fedemb.export import glyphs
from dp_fedemb.export import keras_file
from dp_fedemb.export import runtime
from dp_fedemb.models import saved_model

SHAPE = (16, 16, 3)
# Whatever of these is found in the folder should not be there.
SECRETS = {
    'seed': '91827364554637281900112233',
    'user': 'Zaphod Beeblebrox',
    'identity': 'Trillian McMillan',
    'data': '/home/ford/betelgeuse',
    'start': '/home/ford/other-run',
    'run': 'run-of-marvin',
    'worker': 'heartofgold:5042',
}
ROW = {'identities': 100, 'images': 800, 'low': 0.25, 'high': 0.75, 'false_accept_rate': 0.01}
BREAKDOWN = {
    'far': 0.01,
    'identities': {
        'count': 200,
        'mean': 0.5,
        'median': 0.55,
        'worst_count': 10,
        'worst_mean': 0.0625,
        'at_zero': 3,
    },
    'users': {'count': 0},
    'by_number_of_images': [{'from': 4, 'to': 8, 'users': 200, 'recall': 0.5, **ROW}],
    'groups': {
        SECRETS['user']: {'recall': 0.375, **ROW},
        SECRETS['identity']: {'recall': 0.625, **ROW},
    },
    'gap': {
        'best': SECRETS['identity'],
        'worst': SECRETS['user'],
        'difference': 0.25,
        'low': 0.125,
        'high': 0.375,
    },
}
# Of an untrained model with GroupNorm, which 8 bits blur.
LEAST_COSINE = {'tflite_float16': 0.99999, 'tflite_int8': 0.95}
# Loads every file where this package is not, and writes what the models say.
ALONE = """
import os, sys
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
import numpy as np, onnxruntime, tensorflow as tf
images = np.load('images.npy')
found = {}
found['saved_model'] = tf.saved_model.load('saved_model').signatures['serving_default'](
    images=tf.constant(images))['embeddings'].numpy()
found['keras'] = tf.keras.models.load_model('model.keras').predict(images, verbose=0)
found['onnx'] = onnxruntime.InferenceSession('model.onnx').run(None, {'images': images})[0]
for name in ('tflite', 'tflite_float16', 'tflite_int8'):
    file = name.replace('tflite', 'model') + '.tflite'
    run = tf.lite.Interpreter(file).get_signature_runner()
    found[name] = run(images=images)['embeddings']
    # As a telephone does, one by one.
    one = np.concatenate([run(images=images[i:i + 1])['embeddings'] for i in range(3)])
    assert np.abs(one - found[name][:3]).max() < 1e-5, name
assert not [name for name in sys.modules if name.startswith('dp_fedemb')]
np.savez('found.npz', **found)
"""


@pytest.fixture(scope='module')
def run_directory(tmp_path_factory):
    """A run with secrets wherever a run may have some."""
    run = tmp_path_factory.mktemp('space') / SECRETS['run']
    tf.keras.utils.set_random_seed(0)
    built = models.build_embedding_model('small_conv', SHAPE, 16)
    models.ServingModel(built.build_backbone(), SHAPE).save(str(run / 'saved_model'))
    saved_model.write_preprocessing(run / 'saved_model', Preprocessing(16, 3, fit='pad'))
    (run / 'saved_model/notes.txt').write_text(SECRETS['user'])
    (run / 'checkpoints').mkdir()
    (run / 'checkpoints/state').write_text(SECRETS['seed'])
    config = {
        'task': 'image_folder',
        'task_option': [f'path={SECRETS["data"]}', f'user={SECRETS["user"]}'],
        'data_dir': SECRETS['data'],
        'pretrained': SECRETS['start'],
        'seed': SECRETS['seed'],
        'backbone': 'small_conv',
        'plan': {'num_users': 1234, 'rounds': 7, 'mechanism': {'name': 'clip_only'}},
        'training': {'workers': [SECRETS['worker']], 'client': {'learning_rate': 0.125}},
    }
    (run / 'config.json').write_text(json.dumps(config))
    (run / 'metrics.csv').write_text(f'round,note\n1,{SECRETS["user"]}\n')
    (run / 'privacy.json').write_text(
        json.dumps(
            {
                'hypothetical': False,
                'epsilon_user': None,
                'mechanism': 'clip_only',
                'num_users': 1234,
                'start': 'fresh weights',
            }
        )
    )
    (run / 'privacy.txt').write_text('PRIVACY STATEMENT\n\nNOT PRIVATE: in full.\n')
    scores = {'untrained': {'recall@FAR=0.01': 0.125}, 'trained': {'recall@FAR=0.01': 0.625}}
    (run / 'evaluation.json').write_text(json.dumps(scores))
    model = evaluation.load_model(run)
    images, identities = glyphs.for_check(model.example_spec)
    embedded = evaluation.EmbeddedImages(evaluation.embed(model, images), identities, [0.01])
    about = {
        'title': SECRETS['user'],
        'about': [f'Model {run}', SECRETS['data']],
        'model': str(model.path),
        'model_fingerprint': model.fingerprint,
        'task': 'image_folder',
        'part': 'test',
        'worst': {SECRETS['identity']: 0.0},
        'breakdown': BREAKDOWN,
    }
    values = collection.collect(embedded, ['verification'], about)
    values['points'][0].update(low=0.0125, high=0.9875)
    (run / 'report').mkdir()
    (run / 'report/evaluation.json').write_text(json.dumps(values))
    return run


@pytest.fixture(scope='module')
def exported(run_directory):
    model = evaluation.load_model(run_directory)
    images, identities = glyphs.for_check(model.example_spec)
    few = export.CheckSet(images[:400], identities[:400], 'fifty drawn glyphs')
    return export.export(
        model, run_directory / 'export', checked_on=few, intended_use='To sort | holidays.'
    )


def test_everything_is_there_and_nothing_else(exported, run_directory):
    assert {path.name for path in exported.path.iterdir()} == {
        *(of_format.file for of_format in export.FORMATS.values()),
        'model_card.md',
        'formats.json',
        'evaluation.json',
        'privacy.json',
        'privacy.txt',
    }
    assert {path.name for path in (exported.path / 'saved_model').iterdir()} == {
        'saved_model.pb',
        'variables',
        'assets',
        'preprocessing.json',
    }
    assert not list(run_directory.glob('.*'))


def contents(folder):
    """All bytes of all files, archives also unpacked."""
    for path in folder.rglob('*'):
        yield str(path.relative_to(folder)), str(path.relative_to(folder)).encode()
        if path.is_file():
            yield path.name, path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    for name in archive.namelist():
                        yield f'{path.name}/{name}', archive.read(name)


def test_no_secret_is_in_it(exported, run_directory):
    found = [
        (name, what)
        for name, content in contents(exported.path)
        for what, secret in {**SECRETS, 'place': str(run_directory.parent)}.items()
        if secret.encode() in content
    ]
    assert found == []
    # The search would see them.
    planted = {
        what
        for _, content in contents(run_directory)
        for what, secret in SECRETS.items()
        if secret.encode() in content
    }
    assert planted == set(SECRETS)


def test_every_format_gives_the_embeddings_in_its_own_runtime(
    exported, run_directory, tmp_path
):
    alone = tmp_path / 'alone'
    shutil.copytree(exported.path, alone)
    model = evaluation.load_model(run_directory)
    images, identities = glyphs.for_check(model.example_spec)
    np.save(alone / 'images.npy', images[:400])
    subprocess.run([sys.executable, '-c', ALONE], cwd=alone, check=True, timeout=300)
    right = evaluation.embed(model, images[:400])
    (expected,) = evaluation.recall_at_far(right, identities[:400], [0.01])
    assert expected.recall > 0.04
    with np.load(alone / 'found.npz') as found:
        assert set(found) == set(export.FORMATS)
        for name, embeddings in found.items():
            difference = np.abs(embeddings - right).max()
            if export.FORMATS[name].exact:
                assert difference < 1e-5, name
                continue
            # Some is lost, or the float32 file was taken twice.
            assert difference > 1e-5, name
            unit = evaluation.embed(lambda batch: batch, embeddings)
            assert np.einsum('nd,nd->n', unit, right).min() > LEAST_COSINE[name]
            (point,) = evaluation.recall_at_far(unit, identities[:400], [0.01])
            assert point.recall == pytest.approx(expected.recall, abs=0.02), name


def test_sizes_follow_the_precision(exported):
    sizes = exported.sizes
    assert sizes['tflite_int8'] < sizes['tflite_float16'] < sizes['tflite']


def test_the_card_says_what_the_files_say(exported, run_directory):
    card = (exported.path / 'model_card.md').read_text()
    values = json.loads((run_directory / 'report/evaluation.json').read_text())
    (point,) = values['points']
    row = f'| 0.01 | {point["recall"]:.4f} | 0.0125 - 0.9875 | {point["threshold"]:.5f} |'
    assert row in card
    assert '**NOT PRIVATE: this run has no differential privacy guarantee' in card
    assert 'NOT PRIVATE: in full.' in card and '1,234 users' in card
    assert 'To sort | holidays.' in card and 'task `image_folder`' in card
    assert '| untrained | 0.1250 |' in card and '| trained | 0.6250 |' in card
    assert '| `training.client.learning_rate` | `0.125` |' in card
    assert '| fit | `pad` |' in card
    assert 'measured on drawn glyphs, which are public' in card
    for words in (
        '| identities | 200 | 0.5000 | 0.5500 | 0.0625 | 3 |',
        '| 4 to 8 | 200 | 100 | 800 | 0.5000 | 0.2500 | 0.7500 | 1.00e-02 |',
        '| group 1 | 100 | 800 | 0.6250 |',
        'Between the first and the last: 0.2500 (95% 0.1250 to 0.3750)',
    ):
        assert words in card
    written = json.loads((exported.path / 'formats.json').read_text())['formats']
    for name, check in exported.checks.items():
        assert written[name]['recall'] == check.recall
        assert f'{check.largest_difference:.1e}' in card
    # Tables are whole.
    for block in card.strip().split('\n\n'):
        if block.startswith('|'):
            assert len({line.replace('\\|', '').count('|') for line in block.split('\n')}) == 1


def test_the_folder_is_a_model_with_its_evaluation(exported, run_directory):
    from dp_fedemb import gallery

    model = evaluation.load_model(exported.path)
    assert model.fingerprint == evaluation.load_model(run_directory).fingerprint
    found = gallery.find_thresholds(model.path, model.fingerprint)
    assert found.path == exported.path / 'evaluation.json' and found.at(0.01).recall > 0


@pytest.fixture
def bare(run_directory, tmp_path):
    """The SavedModel alone."""
    shutil.copytree(run_directory / 'saved_model', tmp_path / 'bare')
    (tmp_path / 'bare/preprocessing.json').unlink()
    return evaluation.load_model(tmp_path / 'bare')


def test_a_model_without_a_run_says_what_is_not_known(bare, tmp_path):
    done = export.export(bare, tmp_path / 'out', ['saved_model'])
    card = (done.path / 'model_card.md').read_text()
    for words in (
        'No privacy statement is beside this model',
        'No evaluation with thresholds',
        'Its owner has stated none',
        'Not recorded beside the model',
    ):
        assert words in card
    assert 'no evaluation.json with thresholds beside it' in done.note
    # Again: what is there is an export and is replaced.
    export.export(bare, tmp_path / 'out', ['tflite'])
    assert not (tmp_path / 'out/saved_model').exists()


def test_a_model_that_its_run_replaces_meanwhile_does_not_go_out(bare, tmp_path):
    def replace(unused_format):
        (bare.path / 'preprocessing.json').write_text('{}')

    with pytest.raises(host_error.HostError, match='was replaced while it was read'):
        export.export(bare, tmp_path / 'out', ['saved_model'], on_format=replace)
    assert [path.name for path in tmp_path.iterdir()] == ['bare']


def test_figures_of_the_training_users_stay_behind(bare, run_directory, tmp_path):
    values = json.loads((run_directory / 'report/evaluation.json').read_text())
    path = bare.path / 'evaluation.json'
    path.write_text(
        json.dumps({**values, 'model_fingerprint': bare.fingerprint, 'part': 'train'})
    )
    with pytest.raises(ValueError, match='is of the training users themselves'):
        export.export(bare, tmp_path / 'out', ['saved_model'], evaluation=path)
    done = export.export(bare, tmp_path / 'out', ['saved_model'])
    assert not (done.path / 'evaluation.json').exists()
    assert 'is of the training users themselves' in done.note


def wrong(scale):
    """A format that is not quite the model."""

    def write(model, path, calibration):
        path.write_text(str(model))

    def load(path):
        embed = formats.FORMATS['saved_model'].load(pathlib.Path(path.read_text()))
        return lambda examples: embed(examples) * scale

    return runtime.Format('wrong', 'wrong', write, load)


@pytest.mark.parametrize(
    'scale, words', [(1.001, 'differ .* expected at most 1e-05'), (np.nan, 'finite numbers')]
)
def test_a_format_that_is_not_the_model_is_refused(bare, tmp_path, monkeypatch, scale, words):
    monkeypatch.setitem(formats.FORMATS, 'wrong', wrong(scale))
    with pytest.raises(ValueError, match=f'format wrong: .*{words}.*; leave it out'):
        export.export(bare, tmp_path / 'out', ['saved_model', 'wrong'])
    assert [path.name for path in tmp_path.iterdir()] == ['bare']


def test_a_file_that_cannot_be_written_leaves_the_earlier_export(bare, tmp_path):
    done = export.export(bare, tmp_path / 'out', ['tflite'])
    before = (done.path / 'model.tflite').read_bytes()
    # A limit of this process on the size of files is as real as a full disk.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name in ('saved_model', 'onnx', 'tflite'):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(OSError, match='File too large') as caught:
                export.export(bare, done.path, [name])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.filename == str(done.path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ['bare', 'out']
        assert (done.path / 'model.tflite').read_bytes() == before
    (done.path / 'notes.txt').write_text('mine')
    with pytest.raises(FileExistsError, match="holds 'notes.txt', which is no part"):
        export.export(bare, done.path, ['tflite'])
    assert (done.path / 'notes.txt').read_text() == 'mine'


def test_refusals(bare, run_directory, tmp_path):
    with pytest.raises(ValueError, match="formats='gguf': expected one of saved_model, keras"):
        export.export(bare, tmp_path / 'out', ['gguf'])
    with pytest.raises(ValueError, match='formats: none'):
        export.export(bare, tmp_path / 'out', [])
    with pytest.raises(FileExistsError, match='is not empty and holds no export'):
        export.export(bare, run_directory, ['saved_model'])
    with pytest.raises(FileNotFoundError, match='no such file, or no evaluation.json'):
        export.export(bare, tmp_path / 'out', ['saved_model'], evaluation=tmp_path)
    small = export.Calibration(np.zeros((2, 8, 8, 3), np.uint8), 'zeros')
    with pytest.raises(ValueError, match='calibration: uint8'):
        export.export(bare, tmp_path / 'out', ['tflite_int8'], calibration=small)
    assert [path.name for path in tmp_path.iterdir()] == ['bare']


def test_a_missing_package_is_named(bare, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ValueError, match='needs the package tf2onnx, which is not installed'):
        export.export(bare, tmp_path / 'out', ['onnx'])


def test_a_backbone_of_somebody_else_has_no_keras_file(tmp_path, monkeypatch):
    layers = tf.keras.layers
    backbone = tf.keras.Sequential(
        [tf.keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4, name='theirs')]
    )
    models.ServingModel(backbone, (8, 8, 1)).save(str(tmp_path / 'model'))
    model = evaluation.load_model(tmp_path / 'model')
    for slow in ('mobilenet_v2', 'resnet18', 'resnet50'):
        monkeypatch.delitem(models.BACKBONES, slow)
    with pytest.raises(ValueError, match='format keras: no backbone of this package'):
        export.export(model, tmp_path / 'out', ['keras'])
    assert export.export(model, tmp_path / 'out', ['onnx', 'tflite_int8']).checks


@pytest.mark.parametrize('name', ['lenet', 'small_conv'])
def test_the_backbone_is_found_again(name, tmp_path):
    built = models.build_embedding_model(name, (28, 28, 1), 32)
    models.ServingModel(built.build_backbone(), (28, 28, 1)).save(str(tmp_path / 'model'))
    assert keras_file._backbone(tmp_path / 'model').name == name

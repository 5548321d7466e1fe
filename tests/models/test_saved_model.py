"""A released model says how its pictures are prepared, and takes no images it would spoil."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import data
from dp_fedemb import evaluation
from dp_fedemb import export
from dp_fedemb import models
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.evaluation.report import writing
from dp_fedemb.models import pretrained
from dp_fedemb.models import saved_model

PREPROCESSING = preprocessing_lib.Preprocessing(
    12, 1, 'pad', 'box', invert=True, background=255, centre=0.5, max_pixels=5
)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 1), np.uint8)


@pytest.fixture(scope='module')
def serving():
    tf.keras.utils.set_random_seed(0)
    return models.build_embedding_model('small_conv', (12, 12, 1), 8).serving_model()


@pytest.fixture(scope='module')
def path(serving, tmp_path_factory):
    path = tmp_path_factory.mktemp('run') / 'saved_model'
    serving.save(str(path), PREPROCESSING)
    return path


def test_the_model_says_how_its_pictures_are_prepared(path, serving, tmp_path):
    found = saved_model.read_preprocessing(path.parent)
    assert found.record() == PREPROCESSING.record() and found.invert and found.centre == 0.5
    record = json.loads((path / 'preprocessing.json').read_text())
    assert record['colour'] == 'grey by ITU-R 601' and 'max_pixels' not in record
    asked = {'fit': 'pad', 'resampling': None, 'invert': True}
    assert saved_model.preprocessing_of(path, (12, 12, 1), asked) == found
    with pytest.raises(
        ValueError, match="fit='crop': .* was trained with fit='pad'; leave fit"
    ):
        saved_model.preprocessing_of(path, (12, 12, 1), {'fit': 'crop'})
    with pytest.raises(ValueError, match='save the model again'):
        saved_model.preprocessing_of(path, (14, 14, 1))
    serving.save(str(tmp_path / 'silent'))
    assert saved_model.read_preprocessing(tmp_path / 'silent') is None
    chosen = saved_model.preprocessing_of(tmp_path / 'silent', (12, 12, 1), {'fit': 'crop'})
    assert chosen == preprocessing_lib.Preprocessing(12, 1, 'crop')
    with pytest.raises(ValueError, match='expected square'):
        saved_model.preprocessing_of(tmp_path / 'silent', (12, 14, 1))


def test_other_data_are_refused(path, tmp_path):
    def store(name, **changes):
        values = {**PREPROCESSING.record(), **changes}
        source = {'preprocessing': values} if values['fit'] else {}
        with data.UserStoreWriter(tmp_path / name, (12, 12, 1), source) as writer:
            writer.add_user(IMAGES, [0, 1, 2], 'ann')
        return data.UserStore.open(tmp_path / name).preprocessing

    saved_model.check_preprocessing(path, store('same'), 'choose')
    assert store('unknown', fit='') is None
    saved_model.check_preprocessing(path, None, 'choose')
    with pytest.raises(ValueError, match='with invert=False, not True, .*trained with; choose'):
        saved_model.check_preprocessing(path, store('other', invert=False), 'choose')


@pytest.mark.parametrize(
    'text', ['', '[]', '{"image_size": 12, "zoom": 3}', '{"image_size": "x"}', '{"fit": "pad"}']
)
def test_a_damaged_record_is_one_line(serving, tmp_path, text):
    (tmp_path / 'saved_model.pb').write_bytes(b'')
    (tmp_path / 'preprocessing.json').write_text(text)
    with pytest.raises(ValueError, match='preprocessing.json: damaged') as error:
        saved_model.read_preprocessing(tmp_path)
    assert '\n' not in str(error.value)


def test_images_in_any_type_are_right_or_refused(serving, path):
    expected = serving(IMAGES)['embeddings'].numpy()
    restored = tf.saved_model.load(str(path))
    loaded = evaluation.load_model(path)
    for model in (serving, restored, loaded):
        assert np.array_equal(model(IMAGES)['embeddings'], expected)
        floats = (IMAGES / 255).astype(np.float32)
        assert np.array_equal(model(floats)['embeddings'], expected)
        for wrong in (
            IMAGES.astype(np.float32),
            -floats,
            floats * np.nan,
            IMAGES.astype(np.int64),
            IMAGES[:, :5],
        ):
            with pytest.raises((ValueError, tf.errors.InvalidArgumentError, TypeError)):
                model(wrong)
    for model in (serving, loaded):
        assert np.array_equal(model(IMAGES / 255)['embeddings'], expected)
        assert model(IMAGES[:0])['embeddings'].shape == (0, 8)
    # Right, or refused: no model of this package is behind it any more.
    with pytest.raises((ValueError, TypeError)):
        restored(IMAGES / 255)


@pytest.mark.parametrize('cases', [12, pytest.param(600, marks=pytest.mark.soak)])
def test_damaged_models_are_one_line(path, tmp_path, cases, mutations):
    files = sorted(part for part in path.rglob('*') if part.is_file())
    loaded = 0
    for number in range(cases):
        random = mutations.generator(6, number)
        copy = tmp_path / f'copy{number}'
        shutil.copytree(path, copy)
        part = copy / files[number % len(files)].relative_to(path)
        part.write_bytes(mutations.mutated(part.read_bytes(), random))
        with mutations.one_line(ValueError, FileNotFoundError):
            model = evaluation.load_model(copy)
            assert evaluation.embed(model, IMAGES).shape == (3, 8)
            saved_model.preprocessing_of(copy, (12, 12, 1))
            loaded += 1
        shutil.rmtree(copy)
    assert loaded < cases


def test_a_link_is_what_it_leads_to_and_a_pipe_is_no_part(path, tmp_path):
    (tmp_path / 'saved_model').symlink_to(path)
    # So that no statement beside the link is taken for that of the model.
    assert saved_model.find(tmp_path, 'model') == path == saved_model.find(path.parent, 'model')
    copy = tmp_path / 'copy'
    shutil.copytree(path, copy)
    assert saved_model.described_in(copy) == copy
    assert saved_model.described_in(path) == path.parent
    (copy / 'assets').rmdir() if (copy / 'assets').exists() else None
    os.mkfifo(copy / 'assets')
    with pytest.raises(ValueError, match='assets is a pipe, a device or a link to nothing'):
        saved_model.find(copy, 'model')
    (copy / 'assets').unlink()
    (copy / 'saved_model.pb').unlink()
    (copy / 'saved_model.pb').symlink_to('/dev/zero')
    with pytest.raises(ValueError, match='saved_model.pb is a pipe, a device'):
        evaluation.load_model(copy)
    (tmp_path / 'model.keras').write_bytes(b'PK')
    with pytest.raises(FileNotFoundError, match='is a file; expected the directory'):
        evaluation.load_model(tmp_path / 'model.keras')


def test_a_model_in_the_place_of_that_of_a_run_is_told_from_it(path, tmp_path):
    run = tmp_path / 'run'
    shutil.copytree(path, run / 'saved_model')
    statement = {'private': True, 'epsilon_user': 1.0, 'num_users': 3}
    (run / 'privacy.json').write_text(json.dumps(statement))
    (run / 'privacy.txt').write_text('epsilon 1')
    model = run / 'saved_model'
    assert saved_model.is_published(model) is None
    note = {'round': 3, 'fingerprint': saved_model.fingerprint(model)}
    (run / 'checkpoints').mkdir()
    (run / 'checkpoints/published.json').write_text(json.dumps(note))
    assert saved_model.is_published(model) is True
    assert writing.statement_of(run)[0] == statement
    assert 'its epsilon of 1' in pretrained.read_origin(run).text
    pb = model / 'saved_model.pb'
    # A field that nobody knows.
    pb.write_bytes(pb.read_bytes() + b'\xfa\x3f\x01x')
    assert saved_model.is_published(model) is False
    # What the run states is not said of it, and a note that is none says nothing.
    assert writing.statement_of(run) == (None, '')
    origin = pretrained.read_origin(run)
    assert 'NOT the model' in origin.text and origin.ancestors[0].epsilon is None
    with pytest.raises(ValueError, match='is not the one that the run beside it published'):
        export.export(evaluation.load_model(run), tmp_path / 'out', ['saved_model'])
    assert not (tmp_path / 'out').exists()
    for content in ('[' * 100_000, '{"round": 1e999, "fingerprint": ""}', '[]', '{}', ''):
        (run / 'checkpoints/published.json').write_text(content)
        assert saved_model.is_published(model) is None
    (run / 'checkpoints/published.json').unlink()
    os.mkfifo(run / 'checkpoints/published.json')
    assert saved_model.is_published(model) is None


def test_no_file_that_a_link_leads_to_is_given_away(path, tmp_path):
    (tmp_path / 'key').write_text('hush')
    shutil.copytree(path, tmp_path / 'theirs')
    (tmp_path / 'theirs/assets').mkdir(exist_ok=True)
    (tmp_path / 'theirs/assets/words').symlink_to(tmp_path / 'key')
    model = evaluation.load_model(tmp_path / 'theirs')
    with pytest.raises(ValueError, match=r'assets/words is a link to .*cp -rL'):
        export.export(model, tmp_path / 'out', ['saved_model'])
    assert not (tmp_path / 'out').exists()

"""A released model says how its pictures are prepared, and takes no images it would spoil."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import data
from dp_fedemb import evaluation
from dp_fedemb import models
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.models import saved_model

PREPROCESSING = preprocessing_lib.Preprocessing(
    12, 1, 'pad', 'box', invert=True, background=255, centre=0.5, max_pixels=5
)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 1), np.uint8)


@pytest.fixture(scope='module')
def serving():
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

"""Pretraining into a directory: once, whole, and by no other settings."""

import dataclasses
import json

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb import models
from dp_fedemb.learning import augmentation_config
from dp_fedemb.models import pretrained
from dp_fedemb.pretraining import pretrain
from dp_fedemb.pretraining import settings
from dp_fedemb.pretraining import supervised
from dp_fedemb.pretraining import training_loop

SHAPE = (8, 8, 1)
TRAINING = settings.TrainingConfig(epochs=1.5, batch_size=8)
CONFIG = settings.PretrainingConfig(training=TRAINING)


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp('stores') / 'public'
    generator = np.random.default_rng(0)
    with data.UserStoreWriter(path, SHAPE, source={'made': 'here'}) as writer:
        for user in range(4):
            writer.add_user(generator.integers(0, 256, (4, *SHAPE), np.uint8), [user] * 4)
    return data.UserStore.open(path)


@pytest.fixture(scope='module')
def model():
    return models.build_embedding_model('small_conv', SHAPE, 4)


@pytest.fixture(scope='module')
def made(tmp_path_factory, store, model):
    directory = tmp_path_factory.mktemp('run') / 'pretrained'
    assert pretrain.pretrain_once(directory, model, store, CONFIG, seed=3)
    return directory


def test_holds_the_trained_weights(made, model, store):
    weights, report = pretrained.load(made, model)
    assert not report.fresh
    expected, history = pretrain.pretrain(model, store, CONFIG, seed=3)
    for a, b in zip(weights[0], expected[0]):
        np.testing.assert_allclose(a, b, atol=1e-5)
    lines = (made / 'metrics.csv').read_text().splitlines()
    assert lines[0].startswith('epoch,step,images,loss') and len(lines) == 3
    assert [row['step'] for row in history] == [2, 3]


def test_says_that_it_is_not_private(made, tmp_path, model, store):
    statement = json.loads((made / 'privacy.json').read_text())
    assert statement['private'] is False and 'public images' in statement['notice']
    assert not pretrained.read_origin(made).voids_guarantee
    baseline = tmp_path / 'baseline'
    pretrain.pretrain_once(baseline, model, store, CONFIG, seed=3, users_images=True)
    assert (baseline / 'privacy.txt').read_text().startswith('NOT PRIVATE')
    assert pretrained.read_origin(baseline).voids_guarantee
    with pytest.raises(ValueError, match='users_images=True, not False'):
        pretrain.pretrain_once(baseline, model, store, CONFIG, seed=3)


def test_second_call_trains_nothing(made, model, store, monkeypatch):
    monkeypatch.setattr(pretrain, 'pretrain', None)
    assert not pretrain.pretrain_once(made, model, store, CONFIG, seed=3)


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'seed': 4}, 'seed=3, not 4'),
        (
            {
                'config': dataclasses.replace(
                    CONFIG, training=dataclasses.replace(TRAINING, batch_size=4)
                )
            },
            'pretraining.training.batch_size=8, not 4',
        ),
        ({'initial': ([np.zeros(3)], [])}, 'initial=None'),
    ],
)
def test_other_settings_are_refused(made, model, store, changes, words):
    arguments = {'config': CONFIG, 'seed': 3, **changes}
    with pytest.raises(ValueError, match=words):
        pretrain.pretrain_once(made, model, store, **arguments)


def test_other_model_or_data_are_refused(made, model, store, tmp_path):
    other = models.build_embedding_model('small_conv', SHAPE, 5)
    with pytest.raises(ValueError, match='model.embedding_dim=4, not 5'):
        pretrain.pretrain_once(made, other, store, CONFIG, seed=3)
    with data.UserStoreWriter(tmp_path / 'more', SHAPE) as writer:
        writer.add_user(store.examples[:8], [0] * 8)
    with pytest.raises(ValueError, match='data.num_examples=16, not 8'):
        pretrain.pretrain_once(
            made, model, data.UserStore.open(tmp_path / 'more'), CONFIG, seed=3
        )


def test_interruption_leaves_nothing(tmp_path, model, store, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pretrain, '_save_model', interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain_once(tmp_path / 'run', model, store, CONFIG)
    assert not list(tmp_path.iterdir())


def test_foreign_directory_is_left_alone(tmp_path, model, store):
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(FileExistsError, match='holds no pretraining'):
        pretrain.pretrain_once(tmp_path, model, store, CONFIG)
    with pytest.raises(NotADirectoryError, match='is a file'):
        pretrain.pretrain_once(tmp_path / 'notes.txt', model, store, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_methods_get_their_settings(model, store):
    config = settings.PretrainingConfig(
        'simclr',
        dataclasses.replace(TRAINING, augmentation=augmentation_config.parse('glyph')),
        temperature=0.3,
        projection_dim=6,
    )
    train = pretrain.METHODS['simclr'](config)
    assert train.keywords == {
        'config': config.training,
        'temperature': 0.3,
        'projection_dim': 6,
    }
    assert pretrain.METHODS['supervised'](CONFIG).func is supervised.train


def test_impossible_settings():
    with pytest.raises(ValueError, match="method='moco': expected one of supervised, simclr"):
        settings.PretrainingConfig('moco')
    with pytest.raises(ValueError, match='temperature=-1'):
        settings.PretrainingConfig(temperature=-1)


def test_names_known_without_tensorflow_are_those_there_are():
    assert set(settings.METHODS) == set(pretrain.METHODS)
    assert set(settings.OPTIMIZERS) == set(training_loop.OPTIMIZERS)


def test_the_augmentation_follows_the_method_unless_it_is_given():
    simclr = settings.PretrainingConfig('simclr')
    assert (
        simclr.resolved(1).training.augmentation == augmentation_config.AUGMENTATIONS['glyph']
    )
    assert (
        simclr.resolved(3).training.augmentation == augmentation_config.AUGMENTATIONS['photo']
    )
    plain = settings.PretrainingConfig().resolved(3)
    assert plain.training.augmentation == augmentation_config.Augmentation()
    assert plain.resolved(1) == plain

"""A small untrained model, its evaluation, and folders of drawn glyphs."""

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from dp_fedemb import evaluation
from dp_fedemb import models
from dp_fedemb.data import synthetic
from dp_fedemb.data.images import preprocessing as preprocessing_lib

SHAPE = (16, 16, 1)


@pytest.fixture(scope='session')
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp('model') / 'saved_model'
    tf.keras.utils.set_random_seed(0)
    built = models.build_embedding_model('small_conv', SHAPE, 8)
    models.ServingModel(built.build_backbone(), SHAPE).save(str(path))
    return evaluation.load_model(path)


@pytest.fixture(scope='session')
def preprocessing():
    return preprocessing_lib.Preprocessing(16, 1)


@pytest.fixture(scope='session')
def glyphs():
    """uint8 [12, 5, 16, 16]: five drawings each of twelve glyphs."""
    part = synthetic.Part('gallery', 12, images_per_identity=5, image_size=16)
    return np.concatenate(list(synthetic.draw(part, 0)))[..., 0]


@pytest.fixture
def folder(tmp_path, glyphs):
    """60 pictures in twelve folders."""
    for identity, drawings in enumerate(glyphs):
        for number, pixels in enumerate(drawings):
            path = tmp_path / 'photos' / f'{identity:02}' / f'{number}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path / 'photos'

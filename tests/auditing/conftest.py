"""A store and a model that train in no time."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import data
from dp_fedemb import models
from dp_fedemb.auditing import training
from dp_fedemb.learning import client_config
from dp_fedemb.runs import settings

SHAPE = (6, 6, 1)


def _backbone():
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            tf.keras.Input(SHAPE),
            layers.Flatten(),
            layers.Dense(256, activation='relu', name='hidden'),
            layers.Dense(32, name='embedding'),
        ]
    )


@pytest.fixture(scope='package')
def people(tmp_path_factory):
    """64 users of eight images, each a noisy copy of the user's own."""
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp('people') / 'store'
    with data.UserStoreWriter(path, SHAPE) as writer:
        for user in range(64):
            own = generator.integers(0, 256, SHAPE)
            images = (own + generator.integers(0, 256, (8, *SHAPE))) // 2
            writer.add_user(images.astype(np.uint8), [user] * 8, f'user {user}')
    return data.UserStore.open(path)


@pytest.fixture(scope='package')
def training_setup():
    """Local steps that overfit at once."""
    model = models.EmbeddingModel(_backbone, SHAPE, 32, models.HEADS['linear']())
    client = client_config.ClientConfig(
        learning_rate=0.2, head_lr_scale=5.0, local_epochs=10, batch_size=16
    )
    schedule = settings.TrainingSchedule(1)
    return training.Training(
        model,
        settings.Settings(client, schedule, engine='in_process', client_parallelism=1),
    )

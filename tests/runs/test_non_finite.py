"""Updates that are not finite are counted on every engine; a run of no others stops."""

import csv

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import data
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.learning import client_config
from dp_fedemb.runs import directory as directory_lib
from dp_fedemb.runs import experiment
from dp_fedemb.runs import settings

SPEC = data.ExampleSpec((4,), 'float32')
USERS = 6


def build_backbone():
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [tf.keras.Input(SPEC.shape), layers.Lambda(tf.square), layers.Dense(3)]
    )


def run(tmp_path, engine, spoilt):
    """Trains two rounds of everybody alone; the first `spoilt` hold what overflows."""
    generator = np.random.default_rng(0)
    with data.UserStoreWriter(tmp_path / 'store', SPEC) as writer:
        for user in range(USERS):
            examples = generator.normal(size=(4, *SPEC.shape)).astype(np.float32)
            examples[user % 4, 1] = 3e38 if user < spoilt else 0
            writer.add_user(examples, [2 * user, 2 * user, 2 * user + 1, 2 * user + 1])
    model = models.EmbeddingModel(build_backbone, SPEC, 3, models.HEADS['linear']())
    plan = privacy.PrivacyPlan(USERS, USERS, 1, 2, privacy.NoPrivacy(), privacy.Poisson())
    how = settings.Settings(
        client_config.ClientConfig(batch_size=4),
        settings.TrainingSchedule(2),
        engine=engine,
        client_parallelism=1,
    )
    store = data.UserStore.open(tmp_path / 'store')
    made = experiment.Experiment(model, plan, how, store, None)
    made.run(directory_lib.RunDirectory(tmp_path / 'run'), 1)
    with open(tmp_path / 'run' / 'metrics.csv', newline='') as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize('engine', ['in_process', 'tff'])
def test_zeroed_updates_are_counted_and_alone_stop_the_run(tmp_path, engine):
    (tmp_path / 'two').mkdir()
    rows = [row for row in run(tmp_path / 'two', engine, 2) if int(row['round']) > 0]
    assert [float(row['update_non_finite']) for row in rows] == [2.0, 2.0]
    assert [float(row['virtual_clients']) for row in rows] == [USERS, USERS]
    assert all(np.isfinite(float(row['loss'])) for row in rows)
    (tmp_path / 'all').mkdir()
    with pytest.raises(ValueError, match='round 1: every update was not finite.*client_lr'):
        run(tmp_path / 'all', engine, USERS)

"""Learning-rate schedules, and the checks of the client's configuration."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb.learning import client_config
from dp_fedemb.learning import schedules


@pytest.mark.parametrize(
    'name, expected',
    [
        ('constant', [1, 1, 1, 1, 1]),
        ('linear', [1, 1 - 0.99 / 4, 1 - 0.99 / 2, 0.01, 0.01]),
        ('cosine', [1, (1 + np.sqrt(0.5)) / 2, 0.5, 0, 0]),
        ('step', [1, 1, 0.1, 0.001, 0.001]),
    ],
)
def test_factors(name, expected):
    schedule = schedules.build(name, rounds=12)
    factors = [schedule(tf.constant(round_num)).numpy() for round_num in (0, 3, 6, 12, 99)]
    np.testing.assert_allclose(factors, expected, rtol=1e-5, atol=1e-7)


def test_steps_are_at_thirds():
    schedule = schedules.build('step', rounds=12)
    factors = [schedule(tf.constant(round_num)).numpy() for round_num in (3, 4, 7, 8, 11)]
    np.testing.assert_allclose(factors, [1, 0.1, 0.1, 0.01, 0.01], rtol=1e-5)


@pytest.mark.parametrize('name', list(schedules.SCHEDULES))
def test_total_known_in_the_graph_only(name):
    factor = tf.function(schedules.SCHEDULES[name], [tf.TensorSpec([], tf.int32)] * 2)
    schedule = schedules.build(name, rounds=7)
    for now in range(9):
        np.testing.assert_allclose(factor(now, 7), schedule(now), rtol=1e-6, atol=1e-7)
    assert factor(0, 1) == 1  # A single step is not slowed down.


def test_names_without_tensorflow_are_those_of_the_schedules():
    assert list(client_config.LR_SCHEDULES) == list(schedules.SCHEDULES)


def test_unknown_schedule_and_rounds():
    with pytest.raises(ValueError, match='expected one of constant, linear, cosine, step'):
        schedules.build('exponential', 10)
    with pytest.raises(ValueError, match='rounds=0'):
        schedules.build('linear', 0)


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'learning_rate': 0.0}, 'learning_rate=0.0'),
        ({'head_lr_scale': -1.0}, 'head_lr_scale=-1.0'),
        ({'head_only_steps': -1}, 'head_only_steps=-1'),
        ({'local_epochs': 0}, 'local_epochs=0'),
        ({'batch_size': 0}, 'batch_size=0'),
        ({'momentum': 1.0}, 'momentum=1.0'),
        (
            {'local_lr_schedule': 'warm'},
            "local_lr_schedule='warm': expected one of constant, linear, cosine, step",
        ),
    ],
)
def test_client_config_names_what_is_wrong(changes, words):
    with pytest.raises(ValueError, match=words):
        client_config.ClientConfig(**changes)

"""The server as correlated noise is made for it, against the server that takes the steps."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb.learning import client_config
from dp_fedemb.learning import schedules
from dp_fedemb.privacy.factorization import server as server_lib


def test_schedules_have_the_names_and_rates_of_those_that_train():
    assert set(server_lib.LR_SCHEDULES) == set(client_config.LR_SCHEDULES)
    for name in client_config.LR_SCHEDULES:
        for rounds in (1, 7, 12, 99, 100):
            schedule = schedules.build(name, rounds)
            expected = [schedule(tf.constant(round_num)).numpy() for round_num in range(rounds)]
            rates = server_lib.Server(lr_schedule=name).workload(rounds).rates
            np.testing.assert_allclose(rates or np.ones(rounds), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', client_config.LR_SCHEDULES)
def test_workload_is_what_the_optimizer_makes_of_updates(name):
    rounds, momentum, rate = 10, 0.9, 2.0
    schedule = schedules.build(name, rounds)
    optimizer = tff.learning.optimizers.schedule_learning_rate(
        tff.learning.optimizers.build_sgdm(rate, momentum), lambda t: rate * schedule(t)
    )
    # A coordinate for the update of each round alone.
    updates = np.eye(rounds, dtype=np.float32)
    weights = tf.zeros(rounds)
    state = optimizer.initialize(tf.TensorSpec([rounds]))
    models = []
    for update in updates:
        state, weights = optimizer.next(state, weights, -update)
        models.append(weights.numpy() / rate)
    workload = server_lib.Server(momentum, name).workload(rounds)
    np.testing.assert_allclose(models, workload.matrix(), rtol=1e-5, atol=1e-6)

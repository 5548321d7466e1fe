"""The server as correlated noise is made for it, against the server that takes the steps."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb.learning import client_config
from dp_fedemb.learning import schedules
from dp_fedemb.learning import server_optimizers
from dp_fedemb.privacy.factorization import server as server_lib


def test_schedules_have_the_names_and_rates_of_those_that_train():
    assert set(server_lib.LR_SCHEDULES) == set(client_config.LR_SCHEDULES)
    for name in client_config.LR_SCHEDULES:
        for rounds in (1, 7, 12, 99, 100):
            schedule = schedules.build(name, rounds)
            expected = [schedule(tf.constant(round_num)).numpy() for round_num in range(rounds)]
            rates = server_lib.Server(lr_schedule=name).workload(rounds).rates
            np.testing.assert_allclose(rates or np.ones(rounds), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('averaging', [0.0, 0.7])
@pytest.mark.parametrize('name', client_config.LR_SCHEDULES)
def test_workload_is_what_the_optimizer_makes_of_updates(name, averaging):
    rounds, momentum, rate = 10, 0.9, 2.0
    schedule = schedules.build(name, rounds)
    optimizer = server_optimizers.build('sgd', rate, momentum, schedule=schedule, ema=averaging)
    weights = [tf.zeros(rounds)]
    state = optimizer.initialize([tf.TensorSpec([rounds])])
    models = []
    # A coordinate for the update of each round alone.
    for update in np.eye(rounds, dtype=np.float32):
        state, weights = optimizer.next(state, weights, [-update])
        counted = server_optimizers.averaged(state) if averaging else weights
        models.append(np.asarray(counted[0]) / rate)
    workload = server_lib.Server(momentum, name, averaging).workload(rounds)
    np.testing.assert_allclose(models, workload.matrix(), rtol=1e-4, atol=1e-5)

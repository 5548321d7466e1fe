"""The fused optimizers compute what their formulas say."""

import numpy as np
import tensorflow as tf

from dp_fedemb.learning import fused_optimizers

GRADIENTS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
RATES = (0.1, 0.2, 0.1, 0.05, 0.1)


def run(build):
    variable = tf.Variable([1.0, 2.0, 3.0])
    optimizer = build([variable])
    apply = tf.function(optimizer.apply)
    for step, (gradient, rate) in enumerate(zip(GRADIENTS, RATES)):
        apply([tf.constant(gradient)], tf.constant(rate), tf.constant(step, tf.int64))
    return variable.numpy()


def test_momentum():
    weight, velocity = np.array([1.0, 2.0, 3.0]), np.zeros(3)
    for gradient, rate in zip(GRADIENTS, RATES):
        velocity = 0.9 * velocity + gradient
        weight = weight - rate * velocity
    result = run(lambda variables: fused_optimizers.Momentum(variables, 0.9))
    np.testing.assert_allclose(result, weight, rtol=1e-5)


def test_plain_sgd_is_momentum_zero():
    weight = np.array([1.0, 2.0, 3.0]) - np.array(RATES) @ GRADIENTS
    result = run(lambda variables: fused_optimizers.Momentum(variables, 0.0))
    np.testing.assert_allclose(result, weight, rtol=1e-5)


def test_adam():
    weight, mean, square = np.array([1.0, 2.0, 3.0]), np.zeros(3), np.zeros(3)
    for step, (gradient, rate) in enumerate(zip(GRADIENTS, RATES), start=1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        corrected = mean / (1 - 0.9**step), square / (1 - 0.999**step)
        weight = weight - rate * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
    np.testing.assert_allclose(run(fused_optimizers.Adam), weight, rtol=1e-4)

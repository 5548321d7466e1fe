"""The server's optimizers: their formulas again in NumPy, and what averages leave out."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb.learning import schedules
from dp_fedemb.learning import server_optimizers

SHAPES = [(3,), (2, 2)]
SPECS = [tf.TensorSpec(shape) for shape in SHAPES]
START = [np.ones(shape, np.float32) for shape in SHAPES]
ROUNDS = 6


def updates(scale=1.0):
    generator = np.random.default_rng(0)
    return [
        [(scale * generator.normal(size=shape)).astype(np.float32) for shape in SHAPES]
        for _ in range(ROUNDS)
    ]


def run(optimizer, gradients):
    """Returns the weights after each round, and the last state."""
    state, weights, found = optimizer.initialize(SPECS), [tf.constant(w) for w in START], []
    for gradient in gradients:
        gradient = [tf.constant(part) for part in gradient]
        state, weights = optimizer.next(state, weights, gradient)
        found.append([np.asarray(weight) for weight in weights])
    return found, state


def test_adam_takes_the_noise_out_of_its_second_moment():
    stddevs = np.array([0.5, 1.0, 0.2])
    floor, rate = 0.3, 0.1
    optimizer = server_optimizers.build('adam', rate, noise_stddevs=stddevs, adam_floor=floor)
    found, _ = run(optimizer, updates())
    for part in range(len(SHAPES)):
        mean = square = noise = 0.0
        weight = START[part].astype(np.float64)
        for number, gradient in enumerate(updates(), start=1):
            mean = 0.9 * mean + 0.1 * gradient[part]
            square = 0.999 * square + 0.001 * gradient[part] ** 2
            noise = 0.999 * noise + 0.001 * stddevs[min(number, 3) - 1] ** 2
            signal = (square - noise) / (1 - 0.999**number)
            root = np.sqrt(np.maximum(signal, floor**2))
            weight = weight - rate * mean / (1 - 0.9**number) / root
            np.testing.assert_allclose(found[number - 1][part], weight, rtol=2e-4)


def test_where_all_is_noise_adam_divides_by_its_floor():
    """Plain Adam would divide by the noise, and be SGD of a rate that nobody chose."""
    stddev = 2.0
    noisy, _ = run(
        server_optimizers.build(
            'adam', 1.0, noise_stddevs=np.array([10 * stddev]), adam_floor=4.0
        ),
        updates(stddev),
    )
    first = updates(stddev)[0]
    for weight, start, update in zip(noisy[0], START, first, strict=True):
        np.testing.assert_allclose(weight, start - update / 4.0, rtol=1e-5)


@pytest.mark.parametrize('name', ['sgd', 'adam'])
def test_the_schedule_multiplies_the_rate(name):
    halved = lambda round_num: tf.where(round_num < 2, 1.0, 0.5)
    options = {'adam_floor': 0.5}
    full, _ = run(server_optimizers.build(name, 0.2, **options), updates())
    found, _ = run(server_optimizers.build(name, 0.2, schedule=halved, **options), updates())
    for number in range(ROUNDS):
        before = START if number == 0 else full[number - 1]
        wanted = [a - b for a, b in zip(full[number], before, strict=True)]
        before = START if number == 0 else found[number - 1]
        step = [a - b for a, b in zip(found[number], before, strict=True)]
        for one, other in zip(step, wanted, strict=True):
            np.testing.assert_allclose(one, (1.0 if number < 2 else 0.5) * other, atol=1e-5)


def test_schedules_over_the_rounds_reach_the_server():
    cosine = schedules.build('cosine', ROUNDS)
    found, _ = run(server_optimizers.build('sgd', 1.0, schedule=cosine), updates())
    weights = START
    for number, gradient in enumerate(updates()):
        factor = (1 + np.cos(np.pi * number / ROUNDS)) / 2
        weights = [w - factor * g for w, g in zip(weights, gradient, strict=True)]
        for one, other in zip(found[number], weights, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_average_is_of_the_iterates_and_not_of_the_start():
    decay = 0.8
    optimizer = server_optimizers.build('sgd', 1.0, 0.5, ema=decay)
    assert server_optimizers.averaged(optimizer.initialize(SPECS)) is None
    plain, _ = run(server_optimizers.build('sgd', 1.0, 0.5), updates())
    found, state = run(optimizer, updates())
    for one, other in zip(found[-1], plain[-1], strict=True):
        np.testing.assert_array_equal(one, other)
    shares = decay ** np.arange(ROUNDS - 1, -1, -1.0)
    for part, average in enumerate(server_optimizers.averaged(state)):
        wanted = sum(s * w[part] for s, w in zip(shares, plain)) / shares.sum()
        np.testing.assert_allclose(average, wanted, rtol=1e-5)


def test_other_states_have_no_average():
    _, state = run(server_optimizers.build('sgd', 1.0, 0.9), updates())
    assert server_optimizers.averaged(state) is None
    assert server_optimizers.averaged(()) is None


@pytest.mark.parametrize('name, momentum', [('sgd', 0.9), ('adam', 0.0)])
def test_tff_takes_the_optimizer_as_a_finalizer(name, momentum):
    optimizer = server_optimizers.build(
        name, 0.1, momentum, schedule=schedules.build('linear', 5), ema=0.9
    )
    weights_type = tff.learning.models.ModelWeights(
        tuple(tff.TensorType(np.float32, shape) for shape in SHAPES), ()
    )
    finalizer = tff.learning.templates.build_apply_optimizer_finalizer(
        optimizer, tff.types.to_type(weights_type)
    )
    state_type = finalizer.initialize.type_signature.result.member
    assert hasattr(state_type, 'average')
    hparams = optimizer.get_hparams(optimizer.initialize(SPECS))
    changed = optimizer.set_hparams(optimizer.initialize(SPECS), hparams)
    tf.nest.assert_same_structure(changed, optimizer.initialize(SPECS))


@pytest.mark.parametrize(
    'arguments, message',
    [
        ({'name': 'rmsprop'}, "server_optimizer='rmsprop': expected one of"),
        ({'name': 'adam', 'adam_floor': 0.0}, 'server_adam_floor=0.0: expected a number above'),
        ({'name': 'sgd', 'ema': 1.0}, 'ema=1.0: expected a decay above 0 and below 1'),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        server_optimizers.build(learning_rate=1.0, **arguments)

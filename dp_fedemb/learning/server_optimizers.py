"""What the server does with the noised mean update: SGD, Adam, and the average of models.

All of it is post-processing of what the mechanism released, so none of it costs
privacy. Optimizers are `tff.learning.optimizers`, with all of their state in what a
checkpoint holds.
"""

import collections
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import validate
from dp_fedemb.learning import schedules

_BETA1, _BETA2 = 0.9, 0.999
_AVERAGE, _WEIGHT = 'average', 'weight'


def build(
    name: str,
    learning_rate: float,
    momentum: float = 0.0,
    *,
    schedule: Optional[schedules.Schedule] = None,
    noise_stddevs: Optional[np.ndarray] = None,
    adam_floor: float = 1e-3,
    ema: float = 0.0,
) -> tff.learning.optimizers.Optimizer:
    """Returns the server's optimizer.

    Args:
        name: 'sgd', with momentum, or 'adam', see `DPAdam`.
        learning_rate: before the schedule.
        momentum: of SGD.
        schedule: round (int32 scalar) -> factor of the rate; None for 1.
        noise_stddevs: [rounds], for 'adam': standard deviation of each round's noise on a
            coordinate of the mean update; None where there is no noise.
        adam_floor: least root of Adam's second moment.
        ema: decay of the average that is kept beside the model; 0 for none.

    Raises:
        ValueError: for an unknown name.
    """
    validate.one_of('server_optimizer', name, ('sgd', 'adam'))
    optimizer: tff.learning.optimizers.Optimizer
    if name == 'adam':
        optimizer = DPAdam(learning_rate, noise_stddevs, adam_floor)
    else:
        optimizer = tff.learning.optimizers.build_sgdm(learning_rate, momentum)
    if schedule is not None:
        optimizer = tff.learning.optimizers.schedule_learning_rate(
            optimizer, lambda round_num: learning_rate * schedule(round_num)
        )
    return Averaging(optimizer, ema) if ema else optimizer


class DPAdam(tff.learning.optimizers.Optimizer):
    """Adam whose second moment is without the noise's known variance.

    Tang, Shpilevskiy and Lecuyer, *DP-AdamBC: Your DP-Adam Is Actually DP-SGD (Unless You
    Apply Bias Correction)*, AAAI 2024 (arXiv 2312.14334), algorithm 1: noise adds its
    variance to the mean of the squared updates, and where it is the greater part the
    update of plain Adam is that of SGD. With the corrected moments m and v of Kingma and
    Ba (2015) and phi the mean, weighted as in v, of the rounds' noise variances,

        w <- w - rate * m / sqrt(max(v - phi, floor^2)).

    The variance is public, so taking it out is post-processing.
    """

    def __init__(
        self, learning_rate: float, noise_stddevs: Optional[np.ndarray], floor: float
    ) -> None:
        """Keeps the settings; see `build`. Rounds after the last have the last's noise."""
        validate.positive(server_adam_floor=floor)
        self._learning_rate = learning_rate
        self._floor = floor
        stddevs = np.zeros(1) if noise_stddevs is None else np.asarray(noise_stddevs)
        self._variances = np.square(stddevs).astype(np.float32)

    def initialize(self, specs: Any) -> Any:
        zeros = lambda: tf.nest.map_structure(lambda s: tf.zeros(s.shape, s.dtype), specs)
        return collections.OrderedDict(
            learning_rate=self._learning_rate,
            round_num=tf.constant(0),
            means=zeros(),
            squares=zeros(),
            noise=tf.constant(0.0),
        )

    def next(self, state: Any, weights: Any, gradients: Any) -> Any:
        index = tf.minimum(state['round_num'], len(self._variances) - 1)
        variance = tf.gather(tf.constant(self._variances), index)
        decayed = lambda beta, old, new: beta * old + (1 - beta) * new
        means = tf.nest.map_structure(
            lambda m, g: decayed(_BETA1, m, g), state['means'], gradients
        )
        squares = tf.nest.map_structure(
            lambda v, g: decayed(_BETA2, v, tf.square(g)), state['squares'], gradients
        )
        noise = decayed(_BETA2, state['noise'], variance)
        count = tf.cast(state['round_num'] + 1, tf.float32)
        first, second = 1 - tf.pow(_BETA1, count), 1 - tf.pow(_BETA2, count)
        rate = tf.cast(state['learning_rate'], tf.float32)

        def step(weight: tf.Tensor, mean: tf.Tensor, square: tf.Tensor) -> tf.Tensor:
            signal = tf.maximum((square - noise) / second, self._floor**2)
            return weight - rate * (mean / first) / tf.sqrt(signal)

        new_state = collections.OrderedDict(
            learning_rate=state['learning_rate'],
            round_num=state['round_num'] + 1,
            means=means,
            squares=squares,
            noise=noise,
        )
        return new_state, tf.nest.map_structure(step, weights, means, squares)

    def get_hparams(self, state: Any) -> Any:
        return collections.OrderedDict(learning_rate=state['learning_rate'])

    def set_hparams(self, state: Any, hparams: Any) -> Any:
        return collections.OrderedDict(state, learning_rate=hparams['learning_rate'])


class Averaging(tff.learning.optimizers.Optimizer):
    """Another optimizer, and the exponential moving average of the models it made.

    The average after T rounds has weights decay^(T-t) over the rounds t = 1..T, divided by
    their sum, so that the start is not in it. Averaging the iterates of a private run is
    post-processing; it takes out much of the rounds' noise (De et al. 2022, arXiv
    2204.13650, section 3.4).
    """

    def __init__(self, optimizer: tff.learning.optimizers.Optimizer, decay: float) -> None:
        """Wraps.

        Args:
            optimizer: whose models are averaged.
            decay: above 0 and below 1.
        """
        if not 0 < decay < 1:
            raise ValueError(f'ema={decay!r}: expected a decay above 0 and below 1')
        self._optimizer = optimizer
        self._decay = decay

    def initialize(self, specs: Any) -> Any:
        zeros = tf.nest.map_structure(lambda s: tf.zeros(s.shape, s.dtype), specs)
        return collections.OrderedDict(
            [
                ('optimizer', self._optimizer.initialize(specs)),
                (_AVERAGE, zeros),
                (_WEIGHT, tf.constant(0.0)),
            ]
        )

    def next(self, state: Any, weights: Any, gradients: Any) -> Any:
        inner, weights = self._optimizer.next(state['optimizer'], weights, gradients)
        decayed = lambda old, new: self._decay * old + (1 - self._decay) * new
        new_state = collections.OrderedDict(
            [
                ('optimizer', inner),
                (_AVERAGE, tf.nest.map_structure(decayed, state[_AVERAGE], weights)),
                (_WEIGHT, decayed(state[_WEIGHT], 1.0)),
            ]
        )
        return new_state, weights

    def get_hparams(self, state: Any) -> Any:
        return self._optimizer.get_hparams(state['optimizer'])

    def set_hparams(self, state: Any, hparams: Any) -> Any:
        inner = self._optimizer.set_hparams(state['optimizer'], hparams)
        return collections.OrderedDict(state, optimizer=inner)


def averaged(state: Any) -> Optional[list[np.ndarray]]:
    """Returns the average in a state of `Averaging`; None before the first round, or in
    the state of another optimizer."""
    if not isinstance(state, collections.abc.Mapping) or _AVERAGE not in state:
        return None
    weight = np.float32(state[_WEIGHT])
    if weight == 0:
        return None
    return [np.asarray(part) / weight for part in state[_AVERAGE]]

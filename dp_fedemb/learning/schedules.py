"""Learning-rate schedules: when -> factor of the base rate.

Over the rounds of a run, over the local steps of a virtual client, or over the steps
of a centralised training.
"""

from collections.abc import Callable
import functools
import math

import tensorflow as tf

from dp_fedemb import validate

Schedule = Callable[[tf.Tensor], tf.Tensor]


def constant(round_num: tf.Tensor) -> tf.Tensor:
    """Factor 1 in every round."""
    del round_num
    return tf.constant(1.0)


def _progress(now: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    return tf.minimum(tf.cast(now, tf.float32) / tf.cast(total, tf.float32), 1.0)


def _linear(now: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    return 1.0 - 0.99 * _progress(now, total)


def _cosine(now: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    return 0.5 * (1.0 + tf.cos(math.pi * _progress(now, total)))


def _step(now: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    return tf.pow(0.1, tf.floor(3.0 * _progress(now, total)))


# Name, one of `client_config.LR_SCHEDULES` -> function(now, total) to a float32 scalar.
# Rounds or steps, counted from 0; numbers or scalar tensors, the total above 0.
SCHEDULES = {
    'constant': lambda now, total: constant(now),
    'linear': _linear,
    'cosine': _cosine,
    'step': _step,
}


def build(name: str, rounds: int) -> Schedule:
    """Returns a schedule over `rounds` rounds.

    Args:
        name: `constant`; `linear`, down to 1 % of the base rate; `cosine`, down to 0;
            `step`, a tenth after each third of the rounds.
        rounds: planned number of rounds.

    Raises:
        ValueError: for an unknown name or rounds < 1.
    """
    validate.one_of('client_lr_schedule', name, SCHEDULES)
    validate.positive(rounds=rounds)
    return functools.partial(SCHEDULES[name], total=rounds)

"""Client learning-rate schedules: round -> factor of the base rate."""

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


def _progress(round_num, rounds):
    return tf.minimum(tf.cast(round_num, tf.float32) / rounds, 1.0)


def _linear(round_num, rounds):
    return 1.0 - 0.99 * _progress(round_num, rounds)


def _cosine(round_num, rounds):
    return 0.5 * (1.0 + tf.cos(math.pi * _progress(round_num, rounds)))


def _step(round_num, rounds):
    return tf.pow(0.1, tf.floor(3.0 * _progress(round_num, rounds)))


# Name (as in --client_lr_schedule) -> function(round_num, rounds).
SCHEDULES = {
    'constant': lambda round_num, rounds: constant(round_num),
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
    return functools.partial(SCHEDULES[name], rounds=rounds)

"""From the states of two rounds to the noise between them, in units of the clip norm.

The mean update is read off the server's state, the exact sum and the public centre are
taken out, and what is left is the noise.
"""

from collections.abc import Mapping, Sequence
import math
from typing import Any, Optional

import numpy as np
from numpy import typing as npt
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.auditing.rounds import watch

Array = npt.NDArray[np.float64]
# Adam's, of the first moment.
_BETA1 = 0.9
# Standard deviations of the noise, in steps of float32 at the weights, that can be judged.
_LEAST_STEPS = 50.0


def mean_update(seen: watch.Round) -> list[Array]:
    """Returns the mean update that the server's optimizer was given, read off its state."""
    before, after = (_innermost(s.finalizer) for s in (seen.before, seen.after))
    if 'means' in after:
        return [
            (new - _BETA1 * old) / (1 - _BETA1)
            for old, new in _pairs(before['means'], after['means'])
        ]
    if 'accumulator' in after:
        momentum = float(before['momentum'])
        return [
            new - momentum * old
            for old, new in _pairs(before['accumulator'], after['accumulator'])
        ]
    rate = float(before['learning_rate'])
    return [(old - new) / rate for old, new in _pairs(*_weights(seen))]


def noise(seen: watch.Round, plan: privacy.PrivacyPlan, unit: float) -> list[Array]:
    """Returns the noise on a round's sum, over C, a tensor for each of the weights.

    Args:
        seen: the round.
        plan: gives the public m.
        unit: of `Probe.unit`, what a unit of the sum weighs in the released mean.

    Raises:
        ValueError: for noise that float32 weights hardly show.
    """
    clip_norm = watch.clip_norm(seen.before.aggregator)
    # The state after a round keeps what it was clipped around.
    centre = watch.centre(seen.after.aggregator)
    found = []
    for index, update in enumerate(mean_update(seen)):
        around = np.zeros(1) if centre is None else np.asarray(centre[index], np.float64)
        left = update - around - np.asarray(seen.total[index], np.float64) * unit
        found.append(left * (plan.virtual_clients_per_round / clip_norm))
    _check_resolution(seen, plan, clip_norm)
    return found


def hidden(seen: watch.Round, plan: privacy.PrivacyPlan, unit: float) -> list[Array]:
    """Returns how far float32 can have moved each number of `noise`, in its units.

    Args:
        seen: the round.
        plan: gives the public m.
        unit: of `Probe.unit`.
    """
    before, after = (_innermost(s.finalizer) for s in (seen.before, seen.after))
    if 'means' in after:
        pairs, rate = _pairs(before['means'], after['means']), 1 - _BETA1
    elif 'accumulator' in after:
        pairs, rate = _pairs(before['accumulator'], after['accumulator']), 1.0
    else:
        pairs, rate = _pairs(*_weights(seen)), float(before['learning_rate'])
    centre = watch.centre(seen.after.aggregator)
    found = []
    for index, ((old, new), update) in enumerate(zip(pairs, mean_update(seen), strict=True)):
        terms = [update, np.asarray(seen.total[index], np.float64) * unit]
        terms += [] if centre is None else [np.asarray(centre[index], np.float64)]
        steps = 2 * (_step(old) + _step(new)) / rate + 2 * sum(_step(term) for term in terms)
        found.append(
            steps * (plan.virtual_clients_per_round / watch.clip_norm(seen.before.aggregator))
        )
    return found


def expected(plan: privacy.PrivacyPlan, rounds: int) -> list[Optional[float]]:
    """Returns the claimed standard deviation of each round's noise on the sum, over C.

    None where nothing but the first round's is known before the run.
    """
    first = plan.noise_stddev / plan.mechanism.clip_norm
    if plan.mechanism.independent_rounds:
        # Where the clip norm moves, the noise moves with it.
        return [first] * rounds
    relative = plan.mechanism.relative_noise(rounds)
    if relative is None:
        return [first, *[None] * (rounds - 1)]
    return [first * part for part in relative]


def whitened(
    noise_of_rounds: Sequence[list[Array]], plan: privacy.PrivacyPlan
) -> Optional[list[Array]]:
    """Returns what is accounted as independent: of each round a vector [d], over z.

    The accountant is told of a strategy C, and that C times the noise of the rounds is
    independent. None where the mechanism has no such column, as a tree.
    """
    rounds = len(noise_of_rounds)
    flat = [np.concatenate([part.ravel() for part in each]) for each in noise_of_rounds]
    first = plan.noise_stddev / plan.mechanism.clip_norm
    if plan.mechanism.independent_rounds:
        return [each / first for each in flat]
    if not isinstance(plan.mechanism, privacy.Correlated):
        return None
    column = plan.mechanism.resolved_strategy().column(rounds)
    return [
        sum((column[number - j] * flat[j] for j in range(number + 1)), np.zeros(1)) / first
        for number in range(rounds)
    ]


def next_weights(optimizer: Any, seen: watch.Round, update: Sequence[Array]) -> list[Array]:
    """Returns the weights that an optimizer makes of a state and a mean update.

    Args:
        optimizer: as the settings say.
        seen: the round.
        update: of `mean_update`.
    """
    state = tf.nest.map_structure(tf.convert_to_tensor, seen.before.finalizer)
    weights = [tf.convert_to_tensor(w) for w in seen.before.global_model_weights.trainable]
    gradients = [
        tf.convert_to_tensor(part.astype(np.float32).reshape(weight.shape))
        for part, weight in zip(update, weights, strict=True)
    ]
    _, after = optimizer.next(state, weights, gradients)
    return [np.asarray(weight, np.float64) for weight in after]


def resolution(seen: watch.Round) -> float:
    """Returns the least difference of two weights that a mean update can have made."""
    before, after = (_innermost(s.finalizer) for s in (seen.before, seen.after))
    if 'means' in after or 'accumulator' in after:
        name = 'means' if 'means' in after else 'accumulator'
        values, rate = [np.asarray(part) for part in after[name]], 1 - _BETA1
        rate = rate if name == 'means' else 1.0
    else:
        values, rate = list(_weights(seen)[1]), float(before['learning_rate'])
    # Of most weights: a few large ones do not count.
    typical = max(float(np.sqrt(np.mean(np.square(part)))) for part in values if part.size)
    return float(np.spacing(np.float32(typical))) / rate


def _check_resolution(seen: watch.Round, plan: privacy.PrivacyPlan, clip_norm: float) -> None:
    stddev = plan.noise_stddev / plan.mechanism.clip_norm * clip_norm
    steps = stddev / plan.virtual_clients_per_round / resolution(seen)
    if not steps >= _LEAST_STEPS or not math.isfinite(steps):
        raise ValueError(
            f'noise_multiplier={plan.mechanism.noise_multiplier} with'
            f' server_lr and clip_norm={clip_norm:g}: the noise of a round is'
            f' {steps:.3g} steps of the float32 weights, too little to be judged from them;'
            ' audit with more noise or a larger clip_norm, or the mechanism alone (noise)'
        )


def _step(values: Array) -> Array:
    """Of float32 at numbers."""
    return np.spacing(np.abs(values).astype(np.float32)).astype(np.float64)


def _innermost(state: Any) -> Mapping[str, Any]:
    """The state of SGD or Adam within schedules and averages."""
    while 'optimizer' in state:
        state = state['optimizer']
    return state


def _weights(seen: watch.Round) -> tuple[list[np.ndarray], list[np.ndarray]]:
    before, after = (
        [np.asarray(w) for w in s.global_model_weights.trainable]
        for s in (seen.before, seen.after)
    )
    return before, after


def _pairs(old: Sequence[Any], new: Sequence[Any]) -> list[tuple[Array, Array]]:
    return [
        (np.asarray(a, np.float64), np.asarray(b, np.float64))
        for a, b in zip(old, new, strict=True)
    ]

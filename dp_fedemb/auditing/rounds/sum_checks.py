"""Checks of what enters the sum of a round, by the engine of a run itself.

All are exact: sums are integers, and the same virtual client adds the same in company and
alone.
"""

from collections.abc import Iterable, Iterator, Sequence
import itertools

import numpy as np
import tensorflow as tf

from dp_fedemb import progress
from dp_fedemb.auditing import checks
from dp_fedemb.auditing.rounds import watch
from dp_fedemb.engines import engine as engine_lib

# A clip norm that every update that moves at all is too long for, over the run's own.
_TINY = 1e-4
# Of the clip norm: what float32 of the released mean can hide.
_SLACK = 1e-5


def shapes(
    seen: watch.Round, specs: Sequence[tf.TensorSpec], further: int
) -> Iterator[checks.Check]:
    """Whether the sum holds the weights of the backbone, and whose they are.

    Args:
        seen: a round.
        specs: of the trained weights of a backbone that was built anew.
        further: numbers that the mechanism counts beside the update, each a scalar.
    """
    expected = [tuple(spec.shape) for spec in specs] + [()] * further
    found = [np.shape(part) for part in seen.total]
    yield checks.holds(
        "a sum has the backbone's weights and nothing else",
        found == expected and all(part.dtype == np.int64 for part in seen.total),
        f'{sum(int(np.prod(shape)) for shape in found):,} numbers in {len(found)} tensors',
    )


def heads_alone(probe: watch.Probe, seen: watch.Round) -> checks.Check:
    """Whether anything of the heads is in the sum, with an engine that trains heads alone.

    Args:
        probe: of an engine whose local steps are all `head_only_steps`.
        seen: a round.
    """
    total = probe.total(seen.before, seen.shards)[: len(probe.specs)]
    moved = sum(int(np.count_nonzero(part)) for part in total)
    return checks.holds(
        'where heads alone are trained, nothing is in the sum',
        moved == 0,
        f'{moved:,} numbers are not zero',
    )


def contributions(
    probe: watch.Probe,
    rounds: Sequence[watch.Round],
    further: Iterable[engine_lib.Descriptor],
    most: int,
) -> Iterator[checks.Check]:
    """Whether every virtual client adds at most C, and a round the sum of its own.

    Args:
        probe: of the engine of the run.
        rounds: watched; the virtual clients of the first ones are taken one by one.
        further: virtual clients of other rounds, to have enough.
        most: how many to take one by one, of rounds at least of the first.
    """
    state = rounds[0].before
    tiny = watch.with_clip_norm(state, _TINY * watch.clip_norm(state.aggregator))
    yield from _additive(probe, rounds, most)
    every = [client for each in rounds for client in watch.clients(each.shards)]
    with_rows = (c for c in itertools.chain(every, further) if len(c['rows']))
    taken = list(itertools.islice(with_rows, most))
    longest, longer, clipped = 0.0, 0, 0
    grid = _grid(probe, state)
    for client in progress.each(taken, len(taken), 'one by one', 'virtual client'):
        for one_state in (state, tiny):
            norm = _norm(probe.alone(one_state, client)[: len(probe.specs)]) * grid
            longest = max(longest, norm)
            longer += norm > 1 + _SLACK
        clipped += norm > 0.99
    yield checks.holds(
        'no virtual client adds more than the clip norm to the sum',
        longer == 0,
        f'{longer} of {len(taken)} do, at C and at C / {1 / _TINY:,.0f}; {clipped} were'
        f' clipped, the longest is {longest:.6f} C',
    )


def _additive(
    probe: watch.Probe, rounds: Sequence[watch.Round], most: int
) -> Iterator[checks.Check]:
    wrong, count = 0.0, 0
    for seen in rounds:
        clients = watch.clients(seen.shards)
        if count and count + len(clients) > most:
            break
        count += len(clients)
        parts = [probe.alone(seen.before, client) for client in clients]
        total = [np.asarray(part).astype(np.int64) for part in seen.total]
        for part in parts:
            total = [left - np.asarray(own) for left, own in zip(total, part, strict=True)]
        grid = _grid(probe, seen.before)
        # Another order of the operations of a step may move an update by its last digits.
        wrong = max(wrong, _norm(total) * grid / max(len(clients), 1))
    yield checks.holds(
        'the sum of a round is that of its virtual clients, each alone',
        wrong <= 1e-3,
        f'{wrong:.2g} C for each of {count} virtual clients come from nowhere',
    )


def _grid(probe: watch.Probe, state: engine_lib.State) -> float:
    """Returns what a unit of the sum is, over C, as it is released."""
    return abs(probe.unit(state)) * probe.divisor / watch.clip_norm(state.aggregator)


def _norm(parts: Sequence[np.ndarray]) -> float:
    return float(
        np.sqrt(sum(float(np.sum(np.square(part.astype(np.float64)))) for part in parts))
    )

"""A run as `bin/train.py` makes it, with somebody who looks at its engine.

Nothing of the run is replaced: the engine does what it does, and what goes in and comes
out of it is kept. Only at the end of a life may the watch end it, as a crash would, and
in the next one let a virtual client stay away, as another machine's other sum would look.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import functools
import itertools
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from dp_fedemb.engines import engine as engine_lib
from dp_fedemb.models import embedding_model
from dp_fedemb.runs import experiment

Shards = Sequence[engine_lib.Descriptor]
# Of a sum that no noise hides, in units of the grid.
_SCALE = 2**50


class Crash(Exception):
    """Ends the life of a watched run after a round's noise and before its state is kept."""


class _Enough(Exception):
    """The sum is known; no noise is drawn."""


@dataclasses.dataclass(frozen=True, eq=False)
class Round:
    """What was seen of a round.

    Attributes:
        number: from 0.
        shards: who was trained.
        before: the server's state.
        total: the exact sum as it was committed, integer arrays.
        attempt: of the round.
        after: the server's state.
    """

    number: int
    shards: Shards
    before: Any
    total: Sequence[np.ndarray]
    attempt: int
    after: Any


@dataclasses.dataclass(eq=False)
class Watch:
    """What to do with a life of a run, and what was seen of it.

    Attributes:
        crash_in: round, from 0, in which the life ends; None for no crash.
        leave_out: round in which one virtual client stays away; None for none.
        look: called after the last round, while the engine is still there.
        last: round after which it looks.
        rounds: what was seen.
    """

    crash_in: Optional[int] = None
    leave_out: Optional[int] = None
    look: Callable[['Probe', list[Round]], None] = lambda probe, rounds: None
    last: int = 0
    rounds: list[Round] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class WatchedExperiment(experiment.Experiment):
    """An experiment whose engine is watched.

    Attributes:
        watch: of this life.
    """

    watch: Watch = dataclasses.field(default_factory=Watch)

    def _engine(
        self, model: embedding_model.EmbeddingModel, query: Any
    ) -> contextlib.AbstractContextManager[engine_lib.Engine]:
        probe = functools.partial(
            Probe,
            query=query,
            specs=model.record_specs(),
            divisor=float(self.plan.virtual_clients_per_round),
        )
        return _watched(super()._engine(model, query), probe, self.watch)


@contextlib.contextmanager
def _watched(
    intact: contextlib.AbstractContextManager[engine_lib.Engine],
    probe: 'Callable[..., Probe]',
    watch: Watch,
) -> Iterator[Any]:
    with intact as engine:
        yield _WatchedEngine(engine, probe(engine=engine), watch)


class _WatchedEngine:
    """Passes everything on to the engine of the run."""

    def __init__(self, engine: engine_lib.Engine, probe: 'Probe', watch: Watch) -> None:
        self._engine = engine
        self._probe = probe
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def next(
        self, state: Any, shards: Shards, commit: Optional[engine_lib.Commit] = None
    ) -> Any:
        assert commit is not None
        watch, intact = self._watch, commit
        number = int(state.client_work)
        if number == watch.leave_out:
            shards = without_one(shards)
        seen: list[Any] = []

        def committed(total: Sequence[np.ndarray]) -> int:
            attempt = intact(total)
            seen.extend([[np.array(part) for part in total], attempt])
            return attempt

        output = self._engine.next(state, shards, committed)
        after = self._engine.fetch(output.state)
        before = self._engine.fetch(state)
        watch.rounds.append(Round(number, shards, before, seen[0], seen[1], after))
        if number == watch.last:
            watch.look(self._probe, watch.rounds)
        if number == watch.crash_in:
            raise Crash
        return output


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """Asks the engine of a run for sums, and its mechanism for what they become.

    Attributes:
        engine: of the run.
        query: of the run.
        specs: of the weights that are aggregated.
        divisor: m, of the plan.
    """

    engine: engine_lib.Engine
    query: Any
    specs: Sequence[tf.TensorSpec]
    divisor: float

    def total(self, state: Any, shards: Shards) -> list[np.ndarray]:
        """Returns the exact sum of shards, as the run would commit it; no noise is drawn."""
        found: list[np.ndarray] = []

        def commit(total: Sequence[np.ndarray]) -> int:
            found.extend(np.array(part) for part in total)
            raise _Enough

        with contextlib.suppress(_Enough):
            self.engine.next(state, shards, commit)
        return found

    def alone(self, state: Any, client: engine_lib.Descriptor) -> list[np.ndarray]:
        """Returns what a virtual client by itself adds to the sum."""
        empty = {
            name: part[:1] if name == 'splits' else part[:0] for name, part in client.items()
        }
        return self.total(state, [client, *[empty] * (self.engine.num_shards - 1)])

    def unit(self, state: Any) -> float:
        """Returns what one unit of the sum weighs in the mean that is released, in weights.

        From two releases with the noise of the same round, which their difference is
        without.
        """
        releases = []
        for value in (0, _SCALE):
            sample = self.query.initial_sample_state(list(self.specs))
            leaves = tf.nest.flatten(sample)
            for index in range(len(self.specs)):
                leaves[index] = leaves[index] + tf.cast(value, leaves[index].dtype)
            mean, _, _ = self.query.get_noised_result(
                tf.nest.pack_sequence_as(sample, leaves), _as_tensors(state.aggregator)
            )
            releases.append([np.asarray(leaf, np.float64) for leaf in tf.nest.flatten(mean)])
        apart = [np.median(one - zero) for zero, one in zip(*releases, strict=True)]
        return float(max(apart, key=abs)) / _SCALE


def clients(shards: Shards) -> list[engine_lib.Descriptor]:
    """Returns the virtual clients of a round, each as a shard of its own."""
    found: list[engine_lib.Descriptor] = []
    for shard in shards:
        ends = np.asarray(shard['splits'])
        for index, (start, end) in enumerate(itertools.pairwise(ends)):
            found.append(
                {
                    'rows': shard['rows'][start:end],
                    'labels': shard['labels'][start:end],
                    'splits': np.array([0, end - start], np.int64),
                    'seeds': shard['seeds'][index : index + 1],
                }
            )
    return found


def without_one(shards: Shards) -> Shards:
    """Returns a round without the first virtual client that has examples."""
    result = list(shards)
    for place, shard in enumerate(result):
        parts = clients([shard])
        if any(len(part['rows']) for part in parts):
            first = next(i for i, part in enumerate(parts) if len(part['rows']))
            result[place] = joined(parts[:first] + parts[first + 1 :])
            break
    return result


def joined(parts: Sequence[engine_lib.Descriptor]) -> engine_lib.Descriptor:
    """Returns virtual clients as one shard."""
    ends = np.cumsum([0, *(len(part['rows']) for part in parts)])
    return {
        'rows': np.concatenate([np.zeros(0, np.int64), *(part['rows'] for part in parts)]),
        'labels': np.concatenate([np.zeros(0, np.int32), *(p['labels'] for p in parts)]),
        'splits': ends.astype(np.int64),
        'seeds': np.concatenate([np.zeros((0, 2), np.int64), *(p['seeds'] for p in parts)]),
    }


def with_clip_norm(state: Any, clip_norm: float) -> Any:
    """Returns a server's state whose coming round clips to another norm."""
    aggregator = _with_clip(state.aggregator, clip_norm)
    return type(state)(
        state.global_model_weights,
        state.distributor,
        state.client_work,
        aggregator,
        state.finalizer,
    )


def clip_norm(aggregator: Any) -> float:
    """Returns C of the coming round."""
    return float(_numerator(aggregator).clip_norm)


def centre(aggregator: Any) -> Optional[Sequence[Any]]:
    """Returns the public update that a round was clipped around; None for none."""
    return getattr(aggregator, 'centre', None)


def _numerator(aggregator: Any) -> Any:
    inner = getattr(aggregator, 'inner', aggregator)
    return inner.numerator_state


def _with_clip(aggregator: Any, value: float) -> Any:
    if hasattr(aggregator, 'inner'):
        return aggregator._replace(inner=_with_clip(aggregator.inner, value))
    numerator = aggregator.numerator_state._replace(clip_norm=tf.constant(value, tf.float32))
    return aggregator._replace(numerator_state=numerator)


def _as_tensors(state: Any) -> Any:
    return tf.nest.map_structure(tf.convert_to_tensor, state)

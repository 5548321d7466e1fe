"""Where the time of a round goes: a trace for TensorBoard and a table of seconds."""

import collections
from collections.abc import Callable, Mapping
import itertools
import pathlib
import statistics
import tempfile
import time
from typing import Any

import tensorflow as tf

from dp_fedemb import files
from dp_fedemb import tables
from dp_fedemb.data import store as store_lib
from dp_fedemb.data import virtual_clients
from dp_fedemb.runs import candidates
from dp_fedemb.runs import checkpoints
from dp_fedemb.runs import states


def profile_round(
    engine: Any,
    state: Any,
    assemble: Callable[[], list],
    store: store_lib.UserStore,
    path: pathlib.Path,
    others: Mapping[str, Callable[[], Any]],
) -> collections.OrderedDict:
    """Runs one round several times over, traces it and drops its results.

    A round whose shards hold nobody costs all that does not depend on users: transfer,
    noise, server step, the runtime itself. The rest is the clients' work and the
    addition of their updates, which happen in one graph and are not told apart.

    Args:
        engine: the run's.
        state: before the round.
        assemble: samples the round's users and describes its shards.
        store: the training users.
        path: directory of the trace. It has the operations of this process: with the
            in-process engine all of them, with TFF's workers the driver's part only.
        others: name -> further work whose time is wanted.

    Returns:
        Name -> seconds, of warm runs.
    """
    shards, sampling = _timed(assemble)
    state = engine.send(state)
    empty = [virtual_clients.empty_shard() for _ in shards]
    for warm_up in (shards, empty):
        engine.next(state, warm_up)
    tf.profiler.experimental.start(str(path))
    try:
        engine.next(state, shards)
    finally:
        tf.profiler.experimental.stop()
    _, whole = _timed(lambda: engine.next(state, shards))
    fixed = statistics.median(_timed(lambda: engine.next(state, empty))[1] for _ in range(3))
    _, reading = _timed(lambda: [store.examples[shard['rows']] for shard in shards])
    seconds = collections.OrderedDict(
        [
            ('sampling users, describing shards (*)', sampling),
            ('reading images (*)', reading),
            ('client compute, clip and sum', max(0.0, whole - fixed)),
            ('transfer, noise and server step', fixed),
            ('whole round', whole),
        ]
    )
    for name, work in others.items():
        work()
        _, seconds[name] = _timed(work)
    return seconds


def profile_run(
    engine: Any,
    state: Any,
    assemble: Callable[[], list],
    store: store_lib.UserStore,
    path: pathlib.Path,
    evaluate: Callable[..., Any],
    export: Callable[[candidates.Models, str], None],
) -> collections.OrderedDict:
    """As `profile_round`, with what a run does beside its rounds.

    The round is run again afterwards, and is the same release.

    Args:
        engine: the run's.
        state: before the round.
        assemble: as in `profile_round`.
        store: the training users.
        path: directory of the trace.
        evaluate: weights -> metrics.
        export: writes a SavedModel to a path.
    """
    weights = state.global_model_weights
    arrays = states.arrays(state)
    files.make_private_directory(path, parents=False)
    with tempfile.TemporaryDirectory() as scratch:
        count = itertools.count()
        # The seed stays in the run's own checkpoints.
        saver = checkpoints.Checkpoints(pathlib.Path(scratch) / 'checkpoints')
        others = {
            'evaluation': lambda: evaluate(weights.trainable, weights.non_trainable),
            'checkpoint': lambda: saver.save(next(count), arrays, {}),
            'export of the model': lambda: export(
                candidates.of_state(state), f'{scratch}/model'
            ),
        }
        return profile_round(engine, state, assemble, store, path, others)


def table(seconds: Mapping[str, float], path: pathlib.Path) -> str:
    """Returns the seconds as text, with where the trace is and what it lacks."""
    return '\n'.join(
        [
            tables.text([(name, f'{value:.4f} s') for name, value in seconds.items()], 'lr'),
            '(*) one after another here; beside the computing in a run',
            f'trace: tensorboard --logdir={path} (needs tensorboard-plugin-profile); operations'
            ' inside workers of TFF are not in it, use --engine=in_process to see them',
        ]
    )


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start

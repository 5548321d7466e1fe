"""Canary virtual clients: random directions of norm C in place of a trained update.

As in Andrew et al. (2023, arXiv 2302.03098), but for a lower bound: every canary is a user
of the roster, sampled and grouped by the run like any other, and a fair coin decides what
its virtual client sends: the direction or, as the neighbouring relation says, its opposite
or nothing. It sends it four times too long, so that the run's own clip is under test. The
attacker sees releases alone: all of them, or the last.
"""

import collections
from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np
from numpy import typing as npt
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.auditing import training as training_lib
from dp_fedemb.auditing.mechanism import black_box
from dp_fedemb.auditing.mechanism import games
from dp_fedemb.data import store as store_lib
from dp_fedemb.data import store_writer
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import in_process
from dp_fedemb.learning import shard_work
from dp_fedemb.runs import engine_choice
from dp_fedemb.runs import settings as settings_lib

ALL_ITERATES, FINAL_MODEL = 'all iterates', 'final model'
Array = npt.NDArray[np.float64]
_MOST_NUMBERS = 10**8


@dataclasses.dataclass(frozen=True, eq=False)
class Canaries:
    """Directions and bits.

    Attributes:
        directions: float32 [canaries, d], of norm 1.
        bits: bool [canaries].
    """

    directions: npt.NDArray[np.float32]
    bits: npt.NDArray[np.bool_]

    @classmethod
    def draw(cls, count: int, dimension: int, generator: np.random.Generator) -> 'Canaries':
        """Draws them.

        Args:
            count: of canaries.
            dimension: d, of an update.
            generator: of directions and bits.

        Raises:
            ValueError: for more numbers than fit into memory.
        """
        if count * dimension > _MOST_NUMBERS:
            raise ValueError(
                f'canaries={count} of {dimension:,} weights: expected at most'
                f' {_MOST_NUMBERS // dimension} of such a backbone; choose fewer, or a smaller'
                ' backbone (small_conv)'
            )
        directions = generator.standard_normal((count, dimension), np.float32)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return cls(directions, generator.random(count) < 0.5)


def add_places(
    store: store_lib.UserStore, path: pathlib.Path, canaries: int, most_users: int
) -> store_lib.UserStore:
    """Writes a store of real users, and behind them one place for each canary.

    Args:
        store: the real users.
        path: of the new store.
        canaries: each a user with one blank image, which no training looks at.
        most_users: real users, the first of the store.
    """
    with store_writer.UserStoreWriter(path, store.example_spec) as writer:
        for user in range(min(store.num_users, most_users)):
            rows = slice(*store.user_splits[user : user + 2])
            if rows.start == rows.stop:
                writer.add_absent_user(store.user_names[user])
                continue
            names = [store.identity_names[i] for i in store.identities[rows]]
            writer.add_user(np.asarray(store.examples[rows]), names, store.user_names[user])
        blank = np.zeros((1, *store.example_spec.shape), store.example_spec.dtype)
        for index in range(canaries):
            writer.add_user(blank, [f'canary {index}'], f'canary {index}')
    return store_lib.UserStore.open(path)


class _CanaryWork(shard_work.ShardWork):
    """Sends a canary's update for a virtual client that has one in it."""

    def __init__(self, moves: npt.NDArray[np.float32], first_row: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        intact: Any = self._fine_tuning
        self._fine_tuning = _Replacing(intact, moves, first_row)  # type: ignore[assignment]


class _Replacing:
    """`LocalFineTuning` but for virtual clients with a canary."""

    def __init__(self, intact: Any, moves: npt.NDArray[np.float32], first_row: int) -> None:
        self._intact = intact
        # A variable: a constant would be copied into every graph.
        self._moves = tf.Variable(moves, trainable=False)
        self._first_row = first_row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._intact, name)

    def update(
        self, theta: Any, client: collections.OrderedDict, learning_rate: Any
    ) -> tuple[Any, Any]:
        """As `LocalFineTuning.update`."""
        last = tf.reduce_max(tf.concat([client['rows'], [-1]], axis=0)) - self._first_row

        def canary() -> tuple[Any, Any]:
            parts = tf.split(self._moves[last], [tf.size(weight) for weight in theta])
            move = [tf.reshape(part, w.shape) for part, w in zip(parts, theta, strict=True)]
            return move, tf.constant(0.0)

        return tf.cond(
            last >= 0, canary, lambda: self._intact.update(theta, client, learning_rate)
        )


def check(settings: settings_lib.Settings) -> None:
    """Raises ValueError for settings that canary updates cannot be attacked with."""
    wrong = {
        'server_optimizer': settings.server_optimizer != 'sgd',
        'server_lr_schedule': settings.server_lr_schedule != 'constant',
        'ema': bool(settings.ema),
        'centre_clients': bool(settings.centre_clients),
        'algorithm': settings.algorithm != 'fedemb',
        'engine': settings.engine == 'tff' or bool(settings.workers),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise ValueError(
                f'{name}={getattr(settings, name)} with canaries=updates: they are put into the'
                " engine in_process and told from the models of the server's plain SGD; leave"
                ' it out, choose --canary_kind=mislabelled or unique, or audit with rounds,'
                ' which takes every server and engine'
            )


def scores(
    training: training_lib.Training,
    run: privacy.PrivateRun,
    store: store_lib.UserStore,
    canaries: Canaries,
) -> dict[str, Array]:
    """Trains with the canaries; returns their scores by what the attacker sees.

    Args:
        training: how; its engine is replaced by one with the canaries.
        run: plan and seed.
        store: of `add_places`.
        canaries: as many as the store has places for.

    Raises:
        ValueError: for a server from whose models the updates cannot be told.
    """
    check(training.settings)
    plan = run.plan
    change = plan.sampling.record_change(plan.population).update
    other = 1.0 - change  # Nothing, or the opposite.
    length = black_box.OVERSIZE * plan.mechanism.clip_norm
    signs = np.where(canaries.bits, 1.0, other).astype(np.float32)
    moves = canaries.directions * (signs * np.float32(length))[:, None]
    first_row = store.num_examples - len(canaries.bits)

    class Engine(in_process.InProcessEngine):
        """With the canaries."""

        work = functools.partial(_CanaryWork, moves, first_row)

    @contextlib.contextmanager
    def engine(
        settings: settings_lib.Settings, plan: Any, model: Any, query: Any, *rest: Any
    ) -> Iterator[Engine]:
        yield Engine(
            model,
            settings.client,
            reader=virtual_clients.build_reader(rest[0]),
            query=query,
            server_optimizer=engine_choice.server_optimizer(settings, plan),
        )

    attacked = dataclasses.replace(training, engine=engine)
    settings = training.settings
    game = games.Game(1.0, other, plan.sampling_probability)
    if hasattr(plan.sampling, 'participation'):
        game = dataclasses.replace(game, probability=None)
    stddev = black_box.first_stddev(plan)
    scale = plan.virtual_clients_per_round / plan.mechanism.clip_norm
    total = np.zeros(len(canaries.bits))
    first: Array = np.zeros(0)
    before: Array = np.zeros(0)
    step: Array = np.zeros(0)
    for weights in attacked.releases(run, store):
        now = np.concatenate([weight.ravel() for weight in weights]).astype(np.float64)
        if not len(first):
            first, before, step = now, now, np.zeros_like(now)
            continue
        # What the server's momentum added is known from the release before.
        moved = (before - now) / settings.server_lr
        update = moved - settings.server_momentum * step
        before, step = now, moved
        seen = canaries.directions @ (update * scale).astype(np.float32)
        seen = seen.astype(np.float64)
        total += seen if game.probability is None else games.log_ratio(seen, game, stddev)
    final = canaries.directions @ (first - before).astype(np.float32)
    return {ALL_ITERATES: total, FINAL_MODEL: final.astype(np.float64)}

"""The training program: rounds, evaluation, checkpoints and releases.

On `tff.program` parts. A round is a function of the run's secret seed and its number,
so a run that is continued from a checkpoint repeats the rounds after it as they were:
the same cohorts, heads and noise, and one release instead of two.
"""

import asyncio
import collections
from collections.abc import Callable, Sequence
from concurrent import futures
import itertools
import tempfile
from typing import Any, Optional

from absl import logging
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import privacy
from dp_fedemb.data import store as store_lib
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import engine as engine_lib
from dp_fedemb.privacy.reporting import signal_to_noise
from dp_fedemb.runs import directory as run_directory_lib
from dp_fedemb.runs import profiling
from dp_fedemb.runs import settings as settings_lib
from dp_fedemb.runs import training_bar

_Evaluate = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], dict[str, float]]
_Export = Callable[[Sequence[np.ndarray], Sequence[np.ndarray], str], None]


class TrainingProgram:
    """A run in its directory; `run` starts it or goes on with it."""

    def __init__(
        self,
        engine: engine_lib.Engine,
        run: privacy.PrivateRun,
        store: store_lib.UserStore,
        schedule: settings_lib.TrainingSchedule,
        directory: run_directory_lib.RunDirectory,
        evaluate: _Evaluate,
        export: _Export,
        *,
        local_epochs: int = 1,
        identity_labels: Optional[np.ndarray] = None,
        statement_facts: Optional[dict[str, Any]] = None,
        profile: bool = False,
    ):
        """Collects what a run needs.

        Args:
            engine: its query built from `run`.
            run: decides the cohorts and the epsilon; see `checkpointed_seed`.
            store: the training users, `run.plan.num_users` of them.
            schedule: when to evaluate and save.
            directory: begun already.
            evaluate: backbone weights -> metrics of unseen identities.
            export: writes a SavedModel of backbone weights to a path.
            local_epochs: for the examples/s of the progress bar.
            identity_labels: as in `virtual_clients.assemble` (DP-FedAvg).
            statement_facts: further facts of the privacy statement.
            profile: whether to trace the first round and print where its time goes.

        Raises:
            ValueError: if plan and store have another number of users.
        """
        plan = run.plan
        if plan.num_users != store.num_users:
            raise ValueError(
                f'plan.num_users={plan.num_users}: the store has {store.num_users} users'
            )
        self._engine = engine
        self._plan = plan
        self._run = run
        self._store = store
        self._seed = run.secret_seed
        self._schedule = schedule
        self._directory = directory
        self._evaluate = evaluate
        self._export = export
        self._local_epochs = local_epochs
        self._identity_labels = identity_labels
        self._facts = dict(statement_facts or {})
        self._profile = profile
        self._checkpoints = _checkpoint_manager(directory)
        self._metrics = tff.program.GroupingReleaseManager(
            [
                tff.program.CSVFileReleaseManager(directory.metrics, key_fieldname='round'),
                tff.program.TensorBoardReleaseManager(directory.tensorboard),
            ]
        )

    def run(
        self, initial_weights: tff.learning.models.ModelWeights
    ) -> tff.learning.models.ModelWeights:
        """Runs all rounds that are not done yet.

        Args:
            initial_weights: the backbone's, used only if there is no checkpoint.

        Returns:
            The backbone's weights after the last round.
        """
        state = self._engine.initialize()
        saved, version = _run_async(
            self._checkpoints.load_latest(_program_state(self._seed, state))
        )
        if saved is None:
            state = self._engine.set_model_weights(state, initial_weights)
            version = 0
            self._save(state, 0)
            self._release(state, 0, collections.OrderedDict(), evaluate=True)
        else:
            state = saved['algorithm']
            logging.info('Going on after round %d of %d', version, self._schedule.rounds)
        if self._profile:
            self._print_profile(state, version)
        state = self._rounds(state, version)
        return self._engine.fetch(state).global_model_weights

    def _print_profile(self, state, done):
        """Profiles the next round. It is run again afterwards, and is the same release."""
        weights = state.global_model_weights
        path = self._directory.path / 'profile'
        with tempfile.TemporaryDirectory() as scratch:
            count = itertools.count()
            manager = tff.program.FileProgramStateManager(scratch)
            # The seed stays in the run's own checkpoints.
            content = _program_state(0, state)
            seconds = profiling.profile_round(
                self._engine,
                state,
                lambda: self._shards(done),
                self._store,
                path,
                {
                    'evaluation': lambda: self._evaluate(
                        weights.trainable, weights.non_trainable
                    ),
                    'checkpoint': lambda: _run_async(manager.save(content, next(count))),
                    'export of the model': lambda: self._export(
                        weights.trainable, weights.non_trainable, f'{scratch}/model'
                    ),
                },
            )
        print(profiling.table(seconds, path), flush=True)

    def _rounds(self, state, first):
        """Runs rounds `first` + 1, ..., each from a cohort prepared during the one before."""
        rounds = self._schedule.rounds
        with (
            training_bar.TrainingBar(rounds, first) as bar,
            futures.ThreadPoolExecutor(1) as pool,
        ):
            upcoming = pool.submit(self._shards, first)
            for round_num in range(first, rounds):
                shards = upcoming.result()
                if round_num + 1 < rounds:
                    upcoming = pool.submit(self._shards, round_num + 1)
                bar.round_begins()
                output = self._engine.next(state, shards)
                state = output.state
                done = round_num + 1
                examples = virtual_clients.num_examples(shards) * self._local_epochs
                bar.round_ended(examples, self._spent(done), self._last_recall)
                evaluates = self._schedule.evaluates_after(done)
                saves = self._schedule.saves_after(done)
                # The worker's copy goes on; this one is looked at.
                fetched = self._engine.fetch(state) if evaluates or saves else None
                self._release(fetched, done, output.metrics, evaluates)
                if saves:
                    self._save(fetched, done)
        return state

    def _spent(self, done):
        """The epsilon after some rounds, as text for the bar."""
        if not self._plan.private:
            return 'not private'
        whose = ' of the simulated deployment' if self._plan.hypothetical else ''
        return f'epsilon{whose} {privacy.rounded_up_text(self._plan.epsilon(done), 2)}'

    def _shards(self, round_num):
        return virtual_clients.assemble(
            self._store,
            self._run,
            round_num,
            self._engine.num_shards,
            self._identity_labels,
        )

    _last_recall = ''

    def _release(self, state, done, metrics, evaluate):
        """Writes a round's row; raw training metrics only if the process gives any."""
        row = collections.OrderedDict()
        if self._plan.private:
            # A simulated deployment's epsilon never goes under the name of the run's.
            whose = 'deployment_' if self._plan.hypothetical else ''
            for unit in ('user', 'present_absent', 'virtual_client'):
                epsilon = self._plan.epsilon(done, unit)
                row[f'{whose}epsilon_{unit}'] = privacy.rounded_up(epsilon)
            if 'noised_weights' in self._facts:
                row['largest_signal_to_noise'] = signal_to_noise.largest(
                    self._plan, self._facts['noised_weights']
                )
        row.update(self._training_metrics(metrics))
        if evaluate:
            weights = state.global_model_weights
            scores = self._evaluate(weights.trainable, weights.non_trainable)
            name, value = next(iter(scores.items()))
            self._last_recall = f'{name} {value:.3f}'
            row.update(scores)
        _run_async(self._metrics.release(row, done))

    def _training_metrics(self, metrics):
        """Flat floats; clients' sums become means over virtual clients."""
        flat = collections.OrderedDict()
        for part in ('aggregator', 'finalizer', 'client_work'):
            for name, value in dict(metrics.get(part) or {}).items():
                flat[name] = float(value)
        raw = flat.get('virtual_clients')
        if raw:
            for name in ('loss', 'update_norm'):
                flat[name] /= raw
        return flat

    def _save(self, state, done):
        """Checkpoint, model and statement of the same round, in this order.

        The statement comes last, but a model that is older or newer than its statement
        by an interruption is of a release that the next run repeats.
        """
        _run_async(self._checkpoints.save(_program_state(self._seed, state), done))
        weights = state.global_model_weights
        self._directory.replace_directory(
            self._directory.saved_model,
            lambda draft: self._export(weights.trainable, weights.non_trainable, str(draft)),
        )
        self._directory.write_statement(self.statement(done))

    def statement(self, done: int) -> dict[str, Any]:
        """Returns the privacy statement after `done` rounds."""
        return self._run.statement(done, **self._facts)


def checkpointed_seed(directory: run_directory_lib.RunDirectory) -> Optional[int]:
    """Returns the secret seed of a run that has begun, None if it has not.

    The seed is in every checkpoint and nowhere else.
    """
    versions = _run_async(_checkpoint_manager(directory).get_versions())
    if not versions:
        return None
    # Only the seed is needed here; the structure of the rest is not known yet.
    path = directory.checkpoints / f'{_PREFIX}{versions[-1]}'
    return _seed_from_words(tf.saved_model.load(str(path))()['seed'].numpy())


_PREFIX = 'round_'


def _checkpoint_manager(directory):
    return tff.program.FileProgramStateManager(
        directory.checkpoints, prefix=_PREFIX, keep_total=2, keep_first=False
    )


def _program_state(seed, state):
    return collections.OrderedDict(seed=_seed_to_words(seed), algorithm=state)


def _seed_to_words(seed: int) -> np.ndarray:
    """int64 words, least significant first; checkpoints hold tensors, not integers."""
    count = max(1, -(-seed.bit_length() // 32))
    return np.array([(seed >> (32 * i)) & 0xFFFFFFFF for i in range(count)], np.int64)


def _seed_from_words(words: np.ndarray) -> int:
    return sum(int(word) << (32 * i) for i, word in enumerate(words))


def _run_async(awaitable):
    async def wait():
        return await awaitable

    return asyncio.run(wait())

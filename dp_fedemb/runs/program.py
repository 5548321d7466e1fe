"""The training program: rounds, and in which order they become durable and visible.

Nothing of a round is visible before the state from which the next round follows is on the
disk, and a statement covers it. Rounds are released together, where the run evaluates or
saves, so that what a round costs does not depend on its number: a statement composes all
rounds before it. A round is a function of the run's secret seed and
its number, so a run that goes on from a checkpoint repeats the rounds after it as they
were: the same cohorts, heads and noise, and one release instead of two. Where the sum
of a repeated round comes out different, the journal notices before its noise is drawn.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import Any, Optional

from absl import logging
import numpy as np
import tensorflow_federated as tff

from dp_fedemb import privacy
from dp_fedemb.data import store as store_lib
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import engine as engine_lib
from dp_fedemb.runs import candidates
from dp_fedemb.runs import checkpoints as checkpoints_lib
from dp_fedemb.runs import directory as run_directory_lib
from dp_fedemb.runs import divergence
from dp_fedemb.runs import garbage
from dp_fedemb.runs import odometer
from dp_fedemb.runs import profiling
from dp_fedemb.runs import releases
from dp_fedemb.runs import rows as rows_lib
from dp_fedemb.runs import settings as settings_lib
from dp_fedemb.runs import states
from dp_fedemb.runs import training_bar

_Evaluate = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], dict[str, float]]
_Export = Callable[[candidates.Models, str], None]


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
        statement_facts: Optional[Mapping[str, Any]] = None,
        statistical_distance: Callable[[int], float] = lambda releases: 0.0,
        record: Optional[Mapping[str, Any]] = None,
        spend: Callable[[dict[str, Any]], None] = lambda statement: None,
        profile: bool = False,
    ):
        """Collects what a run needs.

        Args:
            engine: its query built from `run`.
            run: decides the cohorts and the epsilon.
            store: the training users, `run.plan.num_users` of them.
            schedule: when to evaluate and save.
            directory: begun already.
            evaluate: backbone weights -> metrics of unseen identities.
            export: chooses among the models of a round and writes a SavedModel to a path.
            local_epochs: for the examples/s of the progress bar.
            identity_labels: as in `virtual_clients.assemble` (DP-FedAvg).
            statement_facts: further facts of the privacy statement.
            statistical_distance: number of releases -> bound of the total variation of
                their noise from what is accounted.
            record: JSON values that every checkpoint carries.
            spend: notes the statement of rounds in the ledger of the store, before any
                of them is released.
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
        self._schedule = schedule
        self._directory = directory
        self._evaluate = evaluate
        self._export = export
        self._local_epochs = local_epochs
        self._identity_labels = identity_labels
        self._record = dict(record or {})
        self._profile = profile
        self._journal = directory.journal(run)
        self._odometer = odometer.Odometer(
            run,
            self._journal,
            schedule,
            facts=statement_facts,
            statistical_distance=statistical_distance,
            spend=spend,
        )
        self._releases = releases.Releases(directory.metrics, directory.tensorboard)
        self._divergence = divergence.Divergence(plan.mechanism.clip_norm)

    def run(
        self,
        initial_weights: tff.learning.models.ModelWeights,
        saved: Optional[checkpoints_lib.Checkpoint] = None,
    ) -> candidates.Models:
        """Runs all rounds that are not done yet.

        Args:
            initial_weights: the backbone's, used only if there is no checkpoint.
            saved: the checkpoint to go on from; None to start.

        Returns:
            The models after the last round.

        Raises:
            ValueError: for a checkpoint of another model or with a lost journal, or where
                a repeated round has another sum and cannot be accounted again.
        """
        state = self._engine.initialize()
        if saved is None:
            state = self._engine.set_model_weights(state, initial_weights)
            row = self._row(state, 0, {})
            saved = self._make_durable(state, 0, [row])
        else:
            state = states.restored(state, saved)
            logging.info('Going on after round %d', saved.round_num)
        self._check_journal(saved)
        self._odometer.note(saved.round_num)
        rows, before = saved.record['rows'], saved.record.get('released')
        pending: list[rows_lib.Row] = []
        if self._schedule.releases_after(saved.round_num):
            self._releases.restore(saved.round_num, rows, before)
            self._publish(state, saved.round_num)
        else:
            pending = list(rows)
            self._releases.restore(saved.round_num - len(pending), [], before)
        if self._profile:
            seconds = profiling.profile_run(
                self._engine,
                state,
                lambda: self._shards(saved.round_num),
                self._store,
                self._directory.profile,
                self._evaluate,
                self._export,
            )
            print(profiling.table(seconds, self._directory.profile), flush=True)
        state = self._rounds(self._engine.send(state), saved.round_num, pending)
        return candidates.of_state(self._engine.fetch(state))

    def _rounds(self, state: Any, first: int, pending: list[rows_lib.Row]) -> Any:
        """Runs rounds `first` + 1, ..., each from a cohort prepared during the one before.

        `pending` are rows of rounds before, which are durable and not released.
        """
        spent, recall = self._odometer.text(first), ''
        with (
            training_bar.TrainingBar(self._schedule.rounds, first) as bar,
            futures.ThreadPoolExecutor(1) as pool,
        ):
            upcoming = pool.submit(self._shards, first)
            for round_num in range(first, self._schedule.rounds):
                shards = upcoming.result()
                if round_num + 1 < self._schedule.rounds:
                    upcoming = pool.submit(self._shards, round_num + 1)
                bar.round_begins()
                output: Any = self._engine.next(state, shards, self._commit_of(round_num))
                state, done = output.state, round_num + 1
                bar.round_computed(virtual_clients.num_examples(shards) * self._local_epochs)
                releases = self._schedule.releases_after(done)
                durable = releases or states.is_small(state)
                # The engine's copy goes on; this one is looked at.
                fetched = self._engine.fetch(state) if durable else None
                pending.append(self._row(fetched, done, output.metrics))
                self._divergence.check(pending[-1])
                if durable:
                    self._make_durable(fetched, done, pending)
                if releases:
                    self._odometer.note(done)
                    self._releases.append(pending)
                    self._publish(fetched, done)
                    garbage.collect()
                    spent = self._odometer.text(done)
                    recall = rows_lib.recall(pending[-1]) or recall
                    pending = []
                bar.round_ended(spent, recall)
        return state

    def _commit_of(self, round_num: int) -> engine_lib.Commit:
        """Returns what the engine calls with a round's sum before it draws the noise."""

        def commit(sums: Sequence[np.ndarray]) -> int:
            # Of other data than the run began with no sum counts.
            self._store.check_unchanged()
            attempt = self._journal.attempt(round_num, sums)
            # Else one more release of a round is a round more for the accountant.
            if attempt and self._plan.private and not self._plan.mechanism.independent_rounds:
                raise ValueError(
                    f'round {round_num + 1} was computed before with another sum (another'
                    f' machine or engine?), and the noise of mechanism='
                    f'{self._plan.mechanism.name}, correlated over rounds, cannot be drawn anew'
                    ' for one; go on where the run was, or choose another output_dir'
                )
            return self._journal.commit(round_num, sums)

        return commit

    def _check_journal(self, saved: checkpoints_lib.Checkpoint) -> None:
        lost = saved.record['journal_lines'] - self._journal.lines
        if lost > 0:
            raise ValueError(
                f'{self._directory.secrets}: the journal of sums lacks {lost} lines, so that a'
                ' repeated round would not be noticed; restore it, or choose another output_dir'
            )

    def _make_durable(
        self, state: Any, done: int, rows: Sequence[rows_lib.Row]
    ) -> checkpoints_lib.Checkpoint:
        """Writes the checkpoint with the rows that may be released after it."""
        self._directory.check_here()
        arrays = states.arrays(state)
        record = {
            **self._record,
            'rows': list(rows),
            'journal_lines': self._journal.lines,
            'released': self._releases.hash,
        }
        self._directory.checkpoints.save(done, arrays, record)
        return checkpoints_lib.Checkpoint(done, tuple(arrays), record)

    def _publish(self, state: Any, done: int) -> None:
        """Writes the statement of a durable round, and after it the model if it is due.

        Does what an interruption left undone, and nothing twice.
        """
        self._directory.check_here()
        published = self._directory.model_round()
        due = done
        while not self._schedule.saves_after(due):
            due -= 1
        if published is not None and due <= published <= done:
            known = self._directory.read_json('privacy.json')
            if known is None or known['rounds_completed'] < done:
                self._directory.write_statement(self._odometer.statement(done))
            return
        self._directory.write_statement(self._odometer.statement(done))
        models = candidates.of_state(state)
        self._directory.write_model(done, lambda path: self._export(models, path))

    def _shards(self, round_num: int) -> list[collections.OrderedDict]:
        self._store.check_unchanged()
        return virtual_clients.assemble(
            self._store,
            self._run,
            round_num,
            self._engine.num_shards,
            self._identity_labels,
        )

    def _row(self, state: Any, done: int, metrics: Mapping[str, Any]) -> rows_lib.Row:
        """Returns a round's row; raw training metrics only if the engine gives any.

        The last one of those that are released together has the epsilon of all.
        """
        row: rows_lib.Row = collections.OrderedDict(round=done)
        if self._schedule.releases_after(done):
            row.update(self._odometer.columns(done))
        row.update(rows_lib.training_metrics(metrics))
        if self._schedule.evaluates_after(done):
            for name, weights in candidates.of_state(state).items():
                prefix = '' if name == candidates.LAST else f'{name}_'
                for metric, value in self._evaluate(*weights).items():
                    row[prefix + metric] = value
        return row

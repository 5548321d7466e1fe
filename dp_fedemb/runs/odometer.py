"""What the releases of a run have cost so far, repeated ones included.

The bar, the rows, the statement and the ledger all ask here, so that they agree.
"""

import collections
from collections.abc import Callable, Mapping
from typing import Any, Optional

from dp_fedemb import privacy
from dp_fedemb.privacy.reporting import signal_to_noise
from dp_fedemb.runs import journal as journal_lib
from dp_fedemb.runs import rows
from dp_fedemb.runs import settings as settings_lib

# The ledger is told of a tenth more rounds than are done, and so grows with their logarithm.
_NOTED_AHEAD = 10


def noted_after(done: int, schedule: settings_lib.TrainingSchedule) -> int:
    """Returns how many rounds the ledger knows of when `done` are released, at most."""
    until = min(max(done, 1) + done // _NOTED_AHEAD, schedule.rounds)
    while not schedule.saves_after(until):
        until += 1
    return until


class Odometer:
    """A run's epsilon after any of its rounds, and who is told of it."""

    def __init__(
        self,
        run: privacy.PrivateRun,
        journal: journal_lib.Journal,
        schedule: settings_lib.TrainingSchedule,
        *,
        facts: Optional[Mapping[str, Any]] = None,
        statistical_distance: Callable[[int], float] = lambda releases: 0.0,
        spend: Callable[[dict[str, Any]], None] = lambda statement: None,
    ) -> None:
        """Keeps whom to ask.

        Args:
            run: whose plan has the epsilon.
            journal: knows of the repeated releases.
            schedule: when rounds are released.
            facts: further ones of the statement.
            statistical_distance: as in `program.TrainingProgram`.
            spend: notes a statement in the ledger.
        """
        self._run = run
        self._plan = run.plan
        self._journal = journal
        self._schedule = schedule
        self._facts = dict(facts or {})
        self._distance = statistical_distance
        self._spend = spend
        # Rounds and repeats that the ledger knows of.
        self._noted = -1, 0

    def text(self, done: int) -> str:
        """The epsilon after some rounds, as text for the bar."""
        if not self._plan.private:
            return 'not private'
        whose = ' of the simulated deployment' if self._plan.hypothetical else ''
        return f'epsilon{whose} {privacy.rounded_up_text(self._epsilon(done), 2)}'

    def columns(self, done: int) -> rows.Row:
        """Returns what a row says of the privacy of all rounds up to its own."""
        row: rows.Row = collections.OrderedDict()
        if self._plan.private:
            # A simulated deployment's epsilon never goes under the name of the run's.
            whose = 'deployment_' if self._plan.hypothetical else ''
            for unit in ('user', 'present_absent', 'virtual_client'):
                row[f'{whose}epsilon_{unit}'] = privacy.rounded_up(self._epsilon(done, unit))
            if 'noised_weights' in self._facts:
                row['largest_signal_to_noise'] = signal_to_noise.largest(
                    self._plan, self._facts['noised_weights']
                )
        return row

    def statement(self, done: int, **facts: Any) -> dict[str, Any]:
        """Returns the privacy statement after `done` rounds."""
        repeats = self._journal.repeats
        return self._run.statement(
            done,
            repeated_releases=repeats,
            statistical_distance=self._distance(done + repeats),
            **{**self._facts, **facts},
        )

    def note(self, done: int) -> None:
        """Notes in the ledger what is released until it is told again."""
        repeats = self._journal.repeats
        noted, noted_repeats = self._noted
        if done <= noted and repeats == noted_repeats:
            return
        until = noted_after(done, self._schedule)
        self._spend(self.statement(until, observed=None))
        self._noted = until, repeats

    def _epsilon(self, done: int, unit: str = 'user') -> float:
        return self._plan.epsilon(done, unit, repeated_releases=self._journal.repeats)

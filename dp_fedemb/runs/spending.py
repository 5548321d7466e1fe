"""What a run spends, in the ledger beside the store of its users."""

from collections.abc import Mapping
import dataclasses
import functools
import json
import os
import pathlib
from typing import Any, Optional

from absl import logging

from dp_fedemb import configured_directory
from dp_fedemb import host_error
from dp_fedemb import privacy
from dp_fedemb import randomness
from dp_fedemb.privacy import budget
from dp_fedemb.privacy import ledger
from dp_fedemb.runs import directory as run_directory_lib
from dp_fedemb.runs import odometer
from dp_fedemb.runs import settings as settings_lib

# Digits of a name that tell the seed; the others tell what was trained with it.
_OF_SEED = 16


@dataclasses.dataclass(frozen=True)
class Account:
    """The ledger of a store, as a run writes to it.

    Attributes:
        store: the store's directory.
        run: which spends.
        directory: of the run.
        config: what decides what it computes, unless that is noted in the directory. Runs of
            one seed that agree in it make the same release, which counts once; others add up.
        budget_epsilon: most that all runs on these users may cost together; None for any.
        in_ledger: whether the run is noted.
    """

    store: pathlib.Path
    run: privacy.PrivateRun
    directory: run_directory_lib.RunDirectory
    config: Mapping[str, Any]
    budget_epsilon: Optional[float]
    in_ledger: bool = True

    @functools.cached_property
    def _name(self) -> str:
        """What the ledger calls the run; it tells nothing of the seed."""
        seed = randomness.key(self.run.secret_seed, 'name in the ledger').hex()
        # Of a run that began when its seed alone was its name.
        if any(entry.run == seed[:32] for entry in ledger.read(self.store).entries):
            return seed[:32]
        # As it was noted when the run began, by whichever version.
        noted = self.directory.read_json(configured_directory.CONFIG)
        text = json.dumps(noted or self.config, sort_keys=True)
        return seed[:_OF_SEED] + randomness.key(self.run.secret_seed, text).hex()[:_OF_SEED]

    def check_alone(self, schedule: settings_lib.TrainingSchedule) -> None:
        """Refuses a copy of a run; not for one whose seed somebody gave and was told of this.

        Two that go on from one state share their noise. Where their sums differ (another
        processor, another engine) the difference of what they release has none, and neither
        hears of the other's sums. So it is with a copy of before in the place of a run that
        has released more since; one of not long before is not noticed, for the ledger is told
        of some rounds ahead.

        Args:
            schedule: of the run.

        Raises:
            ValueError: if the run from whose directory this one was copied is still there, or
                the ledger knows of more rounds than the directory can have released.
        """
        known = ledger.read(self.store)
        self._check_alone(known)
        self._check_newest(known, schedule)

    def _check_alone(self, known: ledger.Ledger) -> None:
        for entry in self._of_the_same_seed(known):
            other = run_directory_lib.RunDirectory(entry.directory)
            if other.is_of(self.run) and not os.path.samefile(other.path, self.directory.path):
                raise ValueError(
                    f'output_dir={str(self.directory.path)!r}: is a copy of the run in'
                    f' {entry.directory!r}, with its secret seed: if both go on, the same noise'
                    ' may lie on two sums, whose difference has none; go on there, or delete'
                    ' that one'
                )

    def _check_newest(
        self, known: ledger.Ledger, schedule: settings_lib.TrainingSchedule
    ) -> None:
        entry = known.latest().get(self._name)
        if entry is None or not self.run.plan.private:
            return
        rounds = self.directory.journal(self.run).rounds
        if entry.rounds > odometer.noted_after(rounds, schedule):
            raise ValueError(
                f'output_dir={str(self.directory.path)!r}: the run has released rounds beyond'
                f' {rounds}, the last one known here (the ledger of its users says up to'
                f' {entry.rounds}), so that this is a copy of before, and a repeated round'
                ' would not be noticed; put the newest copy here, or choose another output_dir'
            )

    def _of_the_same_seed(self, known: ledger.Ledger) -> list[ledger.Entry]:
        return [
            entry for entry in known.entries if entry.run[:_OF_SEED] == self._name[:_OF_SEED]
        ]

    def _check_noise_is_own(self, known: ledger.Ledger) -> None:
        """Refuses noise that lies, of what is known, on other sums, too.

        Neither epsilon would hold then, nor their sum. Of a seed that can be found by trying
        no epsilon is stated anyway, so that it is only said.
        """
        if not (self.in_ledger and self.run.plan.private):
            return
        others = [
            entry
            for entry in self._of_the_same_seed(known)
            if entry.run != self._name and (entry.epsilon is not None or self.run.weak_seed)
        ]
        if not others:
            return
        text = (
            f'seed: a run in {others[-1].directory!r} on these users had the same one and other'
            ' settings, so that the two share their noise, and their difference has none; leave'
            ' the seed out'
        )
        if not self.run.weak_seed:
            raise ValueError(text)
        logging.warning('%s', text)

    def check(self) -> None:
        """Raises ValueError for what may not begin, before there is a directory, or go on.

        For noise that is another run's, a budget that would be overspent, and a ledger that
        cannot be written.
        """
        begun = not self.in_ledger or self.directory.path.exists()
        if not begun and not os.access(self.store, os.W_OK):
            raise self._not_written('permission denied, or a read-only disk')
        self._check_noise_is_own(ledger.read(self.store))
        if self.budget_epsilon is not None:
            budget.check(self.store, self.budget_epsilon, self.run.plan, self._name)

    def note(self, statement: dict[str, Any], data: str, alone: bool = False) -> None:
        """Notes what is about to be released, unless as much is noted already from here.

        What `check` and `check_alone` have found good is looked at again, in one step with
        noting it: of two runs that begin at once both may have found it.

        Args:
            statement: of the rounds.
            data: fingerprint of the store's contents.
            alone: whether a copy of the run is refused.

        Raises:
            ValueError: if the budget is spent, the noise is another run's, too, or the ledger
                cannot be written.
        """
        if not self.in_ledger:
            return
        plan = self.run.plan
        entry = ledger.entry_of(statement, plan, self._name, self.directory.path, data)
        known = ledger.read(self.store).latest().get(entry.run)
        if (
            known is not None
            and known.rounds >= entry.rounds
            and known.epsilon == entry.epsilon
            and known.directory == entry.directory
        ):
            return

        def check(found: ledger.Ledger) -> None:
            self._check_noise_is_own(found)
            if alone:
                self._check_alone(found)

        try:
            budget.begin(self.store, entry, self.budget_epsilon, plan=plan, check_too=check)
        except OSError as error:
            if host_error.of_the_host(error):
                raise
            raise self._not_written(error.strerror or str(error)) from None

    def _not_written(self, reason: str) -> ValueError:
        return ValueError(
            f'train={str(self.store)!r}: its ledger of releases cannot be written ({reason});'
            ' make the directory writable, or copy the store'
        )

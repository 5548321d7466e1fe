"""What a run leaves on disk.

config.json       what was asked for, without secrets; another one is refused
metrics.csv       one row a round, appended where the run evaluates or saves
tensorboard/      the same as TensorBoard events, without times
checkpoints/      SECRET (0700): states with the run's seed, the journal of sums, and
                  hashes of what was published
privacy.json      the privacy statement of the rounds released so far
privacy.txt       the same for people
saved_model/      the backbone: examples in, unit-norm embeddings out
pretrained/       the public start, if the run made one
profile/          SECRET: a trace with times, if one was asked for
evaluation.json   recall before and after; thresholds, counts, intervals of the model
"""

from collections.abc import Callable, Mapping
import contextlib
import hashlib
import os
from typing import Any, Optional, Union

from absl import logging

from dp_fedemb import configured_directory
from dp_fedemb import drafts
from dp_fedemb import files
from dp_fedemb import json_files
from dp_fedemb import privacy
from dp_fedemb import randomness
from dp_fedemb.models import pretrained
from dp_fedemb.models import saved_model
from dp_fedemb.runs import checkpoints
from dp_fedemb.runs import journal
from dp_fedemb.runs import releases

EVALUATION = 'evaluation.json'
_TEXT = 'privacy.txt'
# What a finished run says and no other file holds, and where hashes of it are noted.
_SAY, _RESULTS = (EVALUATION, pretrained.STATEMENT), 'results.json'


class RunDirectory(configured_directory.ConfiguredDirectory):
    """Paths of a run, and files that appear whole or not at all."""

    def __init__(self, path: Union[str, os.PathLike]) -> None:
        """Names the files; makes none."""
        super().__init__(path, 'run')
        self.metrics = self.path / 'metrics.csv'
        self.tensorboard = self.path / 'tensorboard'
        self.secrets = self.path / 'checkpoints'
        self.saved_model = self.path / saved_model.NAME
        self.pretrained = self.path / 'pretrained'
        self.profile = self.path / 'profile'
        self._journal = self.secrets / 'sums.journal'
        self.checkpoints = checkpoints.Checkpoints(self.secrets)

    def begin(
        self, config: Mapping[str, Any], absent: Optional[Mapping[str, Any]] = None
    ) -> None:
        """As `ConfiguredDirectory.begin`; drops drafts that a kill left, some secret."""
        super().begin(config, absent)
        if self.secrets.is_dir() and self.secrets.stat().st_mode & 0o077:
            # As after a copy by way of a disk or an archive without permissions.
            logging.warning(
                '%s: others could enter it, and read the seed; it is closed now', self.secrets
            )
            files.make_private_directory(self.secrets, parents=False)
        for folder in (self.secrets, self.tensorboard):
            drafts.remove_all(folder)

    def journal(self, run: privacy.PrivateRun) -> journal.Journal:
        """Returns the journal of the sums that a run has noised."""
        files.make_private_directory(self.secrets, parents=False)
        return journal.Journal(self._journal, _journal_key(run))

    def is_of(self, run: privacy.PrivateRun) -> bool:
        """Whether a run of this seed, as far as that can be seen, has its journal here."""
        return journal.is_of(self._journal, _journal_key(run))

    def name_of_start(self, path: str) -> str:
        """Returns what config.json calls a start: its fingerprint, wherever it lies.

        Not its path, which tells of whose computer it is on; but a run from when that was
        noted goes on with it.

        Args:
            path: see `pretrained.load`.

        Raises:
            FileNotFoundError: if there is no model.
            ValueError: for a damaged config.json.
        """
        noted = (self.read_json(configured_directory.CONFIG) or {}).get('pretrained')
        return path if noted == path else pretrained.fingerprint(path)

    def has_all_rows(self, saved: checkpoints.Checkpoint) -> bool:
        """Whether each row up to a checkpoint is there, as it was written.

        Raises:
            ValueError: if one is damaged.
        """
        rows, before = saved.record['rows'], saved.record.get('released')
        found = releases.Releases(self.metrics, self.tensorboard)
        return found.are_complete(saved.round_num, rows, before)

    def is_finished(self, rounds: int, saved: Optional[checkpoints.Checkpoint]) -> bool:
        """Whether all of a run's rounds are done and all of their results are there.

        Args:
            rounds: of the run.
            saved: its last checkpoint; None if there is none.

        Raises:
            ValueError: if a file is damaged.
        """
        if saved is None:
            return False
        statement = self.read_json(pretrained.STATEMENT) or {}
        scores = self.read_json(EVALUATION) or {}
        return (
            saved.round_num == rounds
            and self.model_round() == rounds
            and self.model_is_whole()
            and statement.get('rounds_completed') == rounds
            and self.has_all_rows(saved)
            and 'trained' in scores
            # Else it is another run's.
            and scores.get('model_fingerprint')
            in (None, saved_model.noted(self.path)['fingerprint'])
            and not self.changed_results()
        )

    def was_finished_before(self, rounds: int) -> bool:
        """Whether version 0.1.0, which had other checkpoints, came to the end of the run."""
        statement = self.read_json(pretrained.STATEMENT) or {}
        return (
            self.checkpoints.are_of_first_version
            and statement.get('rounds_completed') == rounds
            and 'trained' in (self.read_json(EVALUATION) or {})
        )

    def mend_copies(self) -> None:
        """Lets what is in a file a second time, for other readers, follow from it again.

        Raises:
            ValueError: if the files that they follow from are damaged.
        """
        releases.Releases(self.metrics, self.tensorboard).mend_events()
        statement = self.read_json(pretrained.STATEMENT)
        if statement is None:
            return
        path = self.path / _TEXT
        with json_files.whole(self.path / pretrained.STATEMENT, 'restore it, or delete it'):
            text = privacy.statement_text(statement)
        if not path.is_file() or files.read_bytes(path) != text.encode():
            logging.warning('%s: is not that of the statement, and written again', path)
            self.write_text(_TEXT, text)

    def note_results(self) -> None:
        """Notes what a finished run says, which is there, unless that is noted."""
        found = {name: self._digest(name) for name in _SAY}
        if found != self._noted_results():
            json_files.write(self.secrets / _RESULTS, found, 0o600)

    def changed_results(self) -> list[str]:
        """Returns the files of a finished run that are there, and not as it wrote them.

        None are of a run from before they were noted, or that was killed just then.
        """
        noted = self._noted_results() or {}
        there = [name for name in _SAY if name in noted and (self.path / name).is_file()]
        return [name for name in there if self._digest(name) != noted[name]]

    def give_up_changed_results(self) -> None:
        """Lets what a finished run says be written again if it is not whole.

        Raises:
            ValueError: for a file that says nothing at all.
        """
        for name in self.changed_results():
            self.read_json(name)
            logging.warning('%s: is not as the run wrote it; written again', self.path / name)
            (self.path / name).unlink()

    def _noted_results(self) -> Optional[dict[str, Any]]:
        # A damaged note is none.
        with contextlib.suppress(OSError, ValueError):
            return json_files.read(self.secrets / _RESULTS, 'delete it')
        return None

    def _digest(self, name: str) -> str:
        return hashlib.sha256(files.read_bytes(self.path / name)).hexdigest()

    def write_statement(self, statement: dict[str, Any]) -> None:
        """Writes the privacy statement, as text and as JSON."""
        # Last what programs read: where it is new, a kill has not left the other behind.
        self.write_text(_TEXT, privacy.statement_text(statement))
        self.write_json(pretrained.STATEMENT, statement)

    def write_model(self, round_num: int, export: Callable[[str], None]) -> None:
        """Replaces the model by what `export(path)` writes, and notes its round."""
        with files.appearing_directory(self.saved_model, replace=True, parents=False) as draft:
            export(str(draft))
        noted = {'round': round_num, 'fingerprint': saved_model.fingerprint(self.saved_model)}
        json_files.write(self.path / saved_model.NOTE, noted, 0o600)

    def model_round(self) -> Optional[int]:
        """Returns the round that the model is of; None if there is none."""
        noted = saved_model.noted(self.path)
        exists = (self.saved_model / 'saved_model.pb').exists()
        return noted['round'] if noted and exists else None

    def model_is_whole(self) -> bool:
        """Whether every byte of the model is as it was written."""
        noted = saved_model.noted(self.path)
        return bool(noted) and noted['fingerprint'] == saved_model.fingerprint(self.saved_model)

    def give_up_damaged_model(self) -> None:
        """Lets the model be written again if it is not whole."""
        if saved_model.noted(self.path) and not self.model_is_whole():
            logging.warning('%s: lost or damaged, and written again', self.saved_model)
            (self.path / saved_model.NOTE).unlink()


def _journal_key(run: privacy.PrivateRun) -> bytes:
    return randomness.key(run.secret_seed, 'journal of sums')

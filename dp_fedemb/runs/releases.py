"""The rows of a run: metrics.csv, and the same for TensorBoard.

Rows are appended when the state behind them is durable. TensorBoard's file follows from
the CSV alone, the order of its values too, and its events carry the round where others
carry the time: how long rounds took is not released.

A checkpoint carries a hash of all rows that were released before it, so that rows that were
changed, or are another run's, do not pass for what was released.
"""

from collections.abc import Iterable, Mapping, Sequence
import csv
import hashlib
import io
import json
import os
import pathlib
from typing import Any, Optional

from absl import logging
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.proto import summary_pb2
from tensorboard.summary.writer import record_writer

from dp_fedemb import files

_KEY = 'round'
_EVENTS = 'events.out.tfevents.rounds'
_WAY_OUT = 'restore the file, or delete it to go on with empty rows for the rounds before'
Row = Mapping[str, Any]


class Releases:
    """Rows by round, on the disk and in memory no more than their columns."""

    def __init__(self, metrics: pathlib.Path, tensorboard: pathlib.Path) -> None:
        """Names the files.

        Args:
            metrics: the CSV.
            tensorboard: directory.
        """
        self._metrics = metrics
        self._events = tensorboard / _EVENTS
        self._columns: list[str] = []
        self._hash = ''
        self._torn = False

    @property
    def hash(self) -> str:
        """Of the rows that are in the files, which a checkpoint is to carry."""
        return self._hash

    def restore(self, done: int, rows: Sequence[Row], before: Optional[str] = None) -> None:
        """Makes the files hold each row up to a round once.

        Args:
            done: of a checkpoint; what is there of later rounds is dropped.
            rows: those that the checkpoint made durable.
            before: `hash` of those before, as the checkpoint has it; None if it has none.

        Raises:
            ValueError: if earlier rows are damaged.
        """
        known = self._read()
        if not self._are_as_written(known, done - len(rows), before):
            raise ValueError(
                f'{self._metrics}: its rows are not those that the run wrote; {_WAY_OUT}'
            )
        kept = {number: row for number, row in known.items() if number <= done}
        kept.update({int(row[_KEY]): dict(row) for row in rows})
        missing = [number for number in range(done + 1) if number not in kept]
        if missing and self._metrics.exists():
            raise ValueError(
                f'{self._metrics}: lacks the row of round {missing[0]}, which is written once;'
                f' {_WAY_OUT}'
            )
        if missing:
            logging.warning(
                '%s: is missing; the rows of %d rounds, the last of them %d, are empty from now'
                ' on',
                self._metrics,
                len(missing),
                missing[-1],
            )
            kept.update({number: {_KEY: str(number)} for number in missing})
        self._write_all([kept[number] for number in sorted(kept)])

    def are_complete(
        self, done: int, rows: Sequence[Row] = (), before: Optional[str] = None
    ) -> bool:
        """Whether the rows are those up to a round; see `restore`.

        Raises:
            ValueError: if one is damaged.
        """
        known = self._read()
        return (
            list(known) == list(range(done + 1))
            and self._are_as_written(known, done - len(rows), before)
            and all(known[int(row[_KEY])] == _as_text(row) for row in rows)
            and not self._torn
        )

    def mend_events(self) -> None:
        """Lets TensorBoard's file follow from the rows again, if it does not."""
        rows = list(self._read().values())
        if not rows:
            return
        events = _events(rows, self._columns)
        if not self._events.is_file() or files.read_bytes(self._events) != events:
            logging.warning('%s: is not that of its rows, and written again', self._events)
            files.make_directory(self._events.parent, parents=False)
            files.write_bytes(self._events, events)

    def _are_as_written(
        self, known: Mapping[int, Row], last: int, before: Optional[str]
    ) -> bool:
        """Whether the rows up to a round have a hash, as far as they are there.

        Rows that were lost are empty, and their loss was said.
        """
        rows = [row for number, row in known.items() if number <= last]
        lost = all(len(row) == 1 for row in rows)
        return before is None or lost or _hash('', rows) == before

    def append(self, rows: Sequence[Row]) -> None:
        """Adds rows of the rounds that follow; returns when they are on the disk."""
        new = [name for row in rows for name in row if name not in self._columns]
        if new:
            # Rare: a column that the rounds before had no value for.
            self._write_all([*self._read().values(), *rows])
            return
        self._hash = _hash(self._hash, rows)
        _append(self._metrics, self._lines(rows).encode())
        _append(self._events, _events(rows, self._columns))

    def _read(self) -> dict[int, dict[str, str]]:
        """Rows by round; a last line without its end was torn by a crash."""
        if not self._metrics.exists():
            return {}
        content = files.read_bytes(self._metrics)
        whole = content[: content.rfind(b'\n') + 1].decode('utf-8', 'replace')
        self._torn = not content.endswith(b'\n')
        if self._torn:
            logging.warning(
                '%s: its last line was torn by a crash, and is written again', self._metrics
            )
        rows: dict[int, dict[str, str]] = {}
        reader = csv.DictReader(io.StringIO(whole))
        self._columns = list(reader.fieldnames or ())
        for number, row in enumerate(reader, start=2):
            key = str(row.get(_KEY, ''))
            unknown = not key.isdecimal() or int(key) in rows
            if unknown or None in row or None in row.values():
                raise ValueError(f'{self._metrics}: line {number} is damaged; {_WAY_OUT}')
            rows[int(row[_KEY])] = {name: value for name, value in row.items() if value != ''}
        return rows

    def _write_all(self, rows: Sequence[Row]) -> None:
        self._hash = _hash('', rows)
        self._columns = list(dict.fromkeys([_KEY, *(name for row in rows for name in row)]))
        header = self._lines([dict(zip(self._columns, self._columns))])
        files.make_directory(self._events.parent, parents=False)
        files.write_bytes(self._events, _events(rows, self._columns))
        files.write_text(self._metrics, header + self._lines(rows))

    def _lines(self, rows: Sequence[Row]) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval='', lineterminator='\n')
        writer.writerows(rows)
        return text.getvalue()


def _as_text(row: Row) -> dict[str, str]:
    """A row as it is read again."""
    text = io.StringIO()
    csv.writer(text).writerow(row.values())
    values = next(csv.reader(io.StringIO(text.getvalue())))
    return {name: value for name, value in zip(row, values) if value != ''}


def _hash(before: str, rows: Iterable[Row]) -> str:
    """A hash of rows that follow others, whichever columns others have."""
    for row in rows:
        content = json.dumps([before, sorted(_as_text(row).items())])
        before = hashlib.sha256(content.encode()).hexdigest()
    return before


def _append(path: pathlib.Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _events(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    """TensorBoard's records of rows; the time of an event is its round.

    Args:
        rows: to be written.
        columns: the order of values, since rows from the disk have lost their own.
    """
    buffer = io.BytesIO()
    writer = record_writer.RecordWriter(buffer)
    for row in rows:
        done = int(row[_KEY])
        values = [
            summary_pb2.Summary.Value(tag=name, simple_value=float(row[name]))
            for name in columns
            if name != _KEY and name in row
        ]
        event = event_pb2.Event(
            wall_time=float(done), step=done, summary=summary_pb2.Summary(value=values)
        )
        if done == 0:
            version = event_pb2.Event(wall_time=0.0, file_version='brain.Event:2')
            writer.write(version.SerializeToString())
        writer.write(event.SerializeToString())
    return buffer.getvalue()

"""The rows of a run: metrics.csv, and the same for TensorBoard.

Rows are appended when the state behind them is durable. TensorBoard's file follows from
the CSV alone, the order of its values too, and its events carry the round where others
carry the time: how long rounds took is not released.
"""

from collections.abc import Mapping, Sequence
import csv
import io
import os
import pathlib
from typing import Any

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

    def restore(self, done: int, rows: Sequence[Row]) -> None:
        """Makes the files hold each row up to a round once.

        Args:
            done: of a checkpoint; what is there of later rounds is dropped.
            rows: those that the checkpoint made durable.

        Raises:
            ValueError: if earlier rows are damaged.
        """
        known = self._read()
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

    def are_complete(self, done: int) -> bool:
        """Whether the rows are those up to a round.

        Raises:
            ValueError: if one is damaged.
        """
        return list(self._read()) == list(range(done + 1))

    def append(self, rows: Sequence[Row]) -> None:
        """Adds rows of the rounds that follow; returns when they are on the disk."""
        new = [name for row in rows for name in row if name not in self._columns]
        if new:
            # Rare: a column that the rounds before had no value for.
            self._write_all([*self._read().values(), *rows])
            return
        _append(self._metrics, self._lines(rows).encode())
        _append(self._events, _events(rows, self._columns))

    def _read(self) -> dict[int, dict[str, str]]:
        """Rows by round; a last line without its end was torn by a crash."""
        if not self._metrics.exists():
            return {}
        content = self._metrics.read_bytes()
        whole = content[: content.rfind(b'\n') + 1].decode('utf-8', 'replace')
        if not content.endswith(b'\n'):
            logging.warning(
                '%s: its last line was torn by a crash, and is written again', self._metrics
            )
        rows = {}
        for number, row in enumerate(csv.DictReader(io.StringIO(whole)), start=2):
            if not str(row.get(_KEY, '')).isdigit() or None in row or None in row.values():
                raise ValueError(f'{self._metrics}: line {number} is damaged; {_WAY_OUT}')
            rows[int(row[_KEY])] = {name: value for name, value in row.items() if value != ''}
        return rows

    def _write_all(self, rows: Sequence[Row]) -> None:
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

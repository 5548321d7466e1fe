"""One table, as text for a terminal, as CSV for a program and as HTML for a page."""

from collections.abc import Sequence
import csv
import dataclasses
import html
import io
from typing import Any

from dp_fedemb import tables

# What stands where nothing can be said.
_NOTHING = '-'


@dataclasses.dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: over it.
        form: how its numbers are shown, as in `format`; in CSV they are shown in full.
    """

    name: str
    form: str = ''


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of its file.
        title: over it.
        columns: what stands in it.
        rows: values: text, numbers, or None where nothing can be said.
        notes: lines below it.
        shown: whether people are shown it; if not it is only a file.
        names_people: whether users or identities are named in it, so that its file is for
            the owner of the collection alone.
        sides: 'l' or 'r' for each column; by default 'r' for those that have numbers.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()
    shown: bool = True
    names_people: bool = False
    sides: str = ''

    def csv(self) -> str:
        """Returns the table as CSV (RFC 4180), an empty field where nothing can be said."""
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerow([column.name for column in self.columns])
        writer.writerows(self.rows)
        return file.getvalue()

    def text(self) -> str:
        """Returns title, table and notes as lines."""
        title = self.title if self.title.endswith('?') else f'{self.title}:'
        return '\n'.join([title, self.body(), *(f'  {note}' for note in self.notes)])

    def body(self) -> str:
        """Returns the table alone as lines."""
        rows = [[column.name for column in self.columns], *self._cells()]
        return tables.text(rows, self._sides(), indent=2)

    def html(self) -> str:
        """Returns title, table and notes; the table scrolls by itself on a narrow page."""
        sides = [' class="n"' if side == 'r' else '' for side in self._sides()]
        head = ''.join(
            f'<th scope="col"{side}>{html.escape(column.name)}</th>'
            for side, column in zip(sides, self.columns)
        )
        body = ''.join(
            '<tr>' + ''.join(map(_cell, sides, cells)) + '</tr>' for cells in self._cells()
        )
        notes = ''.join(f'<p class="note">{html.escape(note)}</p>' for note in self.notes)
        title = html.escape(self.title)
        return (
            f'<h3>{title}</h3><div class="scroll" role="region" aria-label="{title}"'
            f' tabindex="0"><table><thead><tr>{head}</tr></thead>'
            f'<tbody>{body}</tbody></table></div>{notes}'
        )

    def _cells(self) -> list[list[str]]:
        return [
            [_shown(value, column.form) for value, column in zip(row, self.columns)]
            for row in self.rows
        ]

    def _sides(self) -> str:
        """For each column 'r' if it has numbers, otherwise 'l'."""
        if self.sides:
            return self.sides
        columns = zip(*self.rows) if self.rows else [()] * len(self.columns)
        return ''.join(
            'r' if any(isinstance(value, (int, float)) for value in column) else 'l'
            for column in columns
        )


def _shown(value: Any, form: str) -> str:
    if value is None:
        return _NOTHING
    return format(value, form) if isinstance(value, (int, float)) else str(value)


def _cell(side: str, text: str) -> str:
    return f'<td{side}>{html.escape(text)}</td>'

"""The tables of a breakdown: what people are shown, and files that name each one."""

from collections.abc import Iterator, Mapping
from typing import Any

from dp_fedemb import tables as tables_lib
from dp_fedemb.evaluation import breakdown as breakdown_lib
from dp_fedemb.evaluation import result_table
from dp_fedemb.evaluation.result_table import Column

_ROW = ('identities', 'images', 'recall', 'low', 'high', 'false_accept_rate')
_COLUMNS = (
    Column('identities', ','),
    Column('images', ','),
    Column('recall', '.4f'),
    Column('95% from', '.4f'),
    Column('to', '.4f'),
    Column('false accepts', '.2e'),
)


def tables(values: Mapping[str, Any]) -> Iterator[result_table.Table]:
    """Yields the tables of what `breakdown.summarise` returned, with the rate as 'far'."""
    at = f'at FAR {values["far"]:g}'
    yield _spread(values, at)
    rows = [
        (_span(row), row['users'], *(row[name] for name in _ROW))
        for row in values['by_number_of_images']
    ]
    columns = (Column("user's images"), Column('users', ','), *_COLUMNS)
    title = f"Recall against a user's number of images, {at}"
    yield result_table.Table('users_by_images', title, columns, rows)
    if 'groups' in values:
        rows = [(name, *(row[k] for k in _ROW)) for name, row in values['groups'].items()]
        of_groups = (Column('group'), *_COLUMNS)
        yield result_table.Table('groups', f'By group, {at}', of_groups, rows, _gap(values))


def by_name(name: str, parts: breakdown_lib.Parts, names: Any) -> result_table.Table:
    """Returns a table of all parts, the worst first, for a file only.

    Args:
        name: of the table: what a part is, in the plural.
        parts: of `Breakdown.by`, labelled by numbers.
        names: of these numbers.
    """
    order = sorted(
        range(len(parts.names)), key=lambda i: (parts.pairs[i] == 0, parts.recall[i])
    )
    rows = [
        (
            names[parts.names[i]],
            int(parts.images[i]),
            int(parts.pairs[i]),
            float(parts.recall[i]) if parts.pairs[i] else None,
            float(parts.false_accept_rate[i]),
        )
        for i in order
    ]
    columns = ('name', 'images', 'ends of genuine pairs', 'recall', 'false accept rate')
    return result_table.Table(
        name, name, [Column(c) for c in columns], rows, shown=False, names_people=True
    )


def _spread(values: Mapping[str, Any], at: str) -> result_table.Table:
    rows = []
    for kind in ('identities', 'users'):
        one = values[kind]
        if one['count']:
            keys = ('count', 'mean', 'median', 'worst_mean', 'worst_count', 'at_zero')
            rows.append((kind, *(one[key] for key in keys)))
    columns = (
        Column('of'),
        Column('with a pair', ','),
        Column('mean recall', '.4f'),
        Column('median', '.4f'),
        Column(f'worst {breakdown_lib.WORST:.0%}', '.4f'),
        Column('these are', ','),
        Column('recall 0', ','),
    )
    return result_table.Table('spread', f'Are all served alike? Recall {at}', columns, rows)


def _gap(values: Mapping[str, Any]) -> list[str]:
    gap = values['gap']
    if gap is None:
        return ['fewer than two groups have a genuine pair: there is no gap to state']
    best, worst = map(tables_lib.on_one_line, (gap['best'], gap['worst']))
    return [
        f'greatest gap: {best} over {worst} by {gap["difference"]:.4f}'
        f' (95% {gap["low"]:.4f} to {gap["high"]:.4f}); of {len(values["groups"]):,} groups the'
        ' extremes differ by chance, too'
    ]


def _span(row: Mapping[str, Any]) -> str:
    low, high = f'{row["from"]:,}', f'{row["to"]:,}'
    return low if low == high else f'{low} to {high}'

"""What cells came to, as rows, CSV and Markdown."""

from collections.abc import Iterable, Mapping, Sequence
import csv
import io
import math
from typing import Any, Optional

from dp_fedemb import validate
from dp_fedemb.privacy import rounding

# Heading -> field of a privacy statement. Of a simulated deployment where that is what the
# noise is of; the column `epsilon of` says which.
EPSILON = 'epsilon'
EPSILONS = {
    'epsilon, user': 'epsilon_user',
    'epsilon, present or absent': 'epsilon_present_absent',
    'epsilon, virtual client': 'epsilon_virtual_client',
}
_OF = 'epsilon of'
# A recall at a rate that allows less than one of the impostor pairs.
_UNRESOLVED = 'too few pairs'
# Any that a table can hold; JSON has larger ones.
_FIGURES = '[-1e300, 1e300]'
Row = dict[str, Any]


def row(record: Mapping[str, Any]) -> Row:
    """Returns a cell's record as one row: what it was, recall, epsilons, seconds."""
    found: Row = dict(record['shown'])
    for name, value in scores(record).items():
        found[name] = value
    statement = record.get('privacy')
    if statement is not None:
        deployment = statement.get('deployment')
        guarantee = statement if deployment is None else deployment
        for heading, field in EPSILONS.items():
            found[heading] = guarantee.get(field)
        if guarantee.get('epsilon_user') is not None:
            users = (statement if deployment is None else deployment)['num_users']
            found[_OF] = f'{"these" if deployment is None else "simulated"} {users:,} users'
    found['seconds'] = record['wall_seconds']
    return found


def rows(record: Mapping[str, Any]) -> list[Row]:
    """Returns a cell's rows: one, or one for each cohort of an extrapolation."""
    if 'printed' not in record:
        return [row(record)]
    found = record['printed']
    needed = {
        each['virtual_clients_per_round']: each['num_users']
        for each in found['users_needed'] or []
    }
    by_cohort: dict[int, Row] = {}
    for point in found['points']:
        cohort = point['virtual_clients_per_round']
        whose = {**record['shown'], 'virtual_clients_per_round': cohort}
        own = by_cohort.setdefault(cohort, whose)
        own[f'{EPSILON}, N = {point["num_users"]:,}'] = point['epsilon_user']
    for cohort, own in by_cohort.items():
        own[f'fewest users for epsilon {found["target_epsilon"]:g}'] = needed.get(cohort)
        own['seconds'] = record['wall_seconds'] / len(by_cohort)
    return list(by_cohort.values())


def scores(record: Mapping[str, Any]) -> dict[str, float]:
    """Returns the metrics of a cell's trained model by name; none where it trains none."""
    for name in ('evaluation', 'evaluation_test', 'evaluation_validation'):
        if name in record:
            return dict(record[name]['trained'])
    return {}


def check(record: Mapping[str, Any]) -> None:
    """Raises an error for what no run has left, and no table can show.

    Args:
        record: of a cell that ended well.
    """
    dict(record['flags'])
    for name, value in scores(record).items():
        if value is not None:
            validate.within(_FIGURES, **{name: value})
    found = rows(record)
    for each in found:
        for name, value in each.items():
            if name == 'seconds' or validate.is_number(value):
                validate.within(_FIGURES, **{name: value})
            elif not isinstance(value, (str, bool, type(None))):
                raise ValueError(f'{name}={value!r}: expected a number or a text')
    to_csv(found)
    to_markdown(found)


def over_seeds(rows: Iterable[Row], metrics: Sequence[str]) -> list[Row]:
    """Returns a row for those that differ by seed alone: mean, deviation and number.

    Args:
        rows: see `row`.
        metrics: columns to take the mean of, each with its sample standard deviation.
    """
    groups: dict[str, list[Row]] = {}
    for each in rows:
        skipped = ('seed', 'seconds', *metrics)
        key = repr([(name, value) for name, value in each.items() if name not in skipped])
        groups.setdefault(key, []).append(each)
    found = []
    for members in groups.values():
        merged = {name: value for name, value in members[0].items() if name != 'seed'}
        merged['seeds'] = len(members)
        for name in metrics:
            values = [each[name] for each in members if each.get(name) is not None]
            if not values:
                if any(name in each for each in members):
                    merged[name] = None
                continue
            mean = math.fsum(values) / len(values)
            merged[name] = mean
            if len(values) > 1:
                squares = math.fsum((value - mean) ** 2 for value in values)
                merged[f'{name} sd'] = math.sqrt(squares / (len(values) - 1))
        merged['seconds'] = round(math.fsum(each['seconds'] for each in members), 1)
        found.append(merged)
    return found


def headings(rows: Iterable[Row], last: Sequence[str] = ('seeds', 'seconds')) -> list[str]:
    """Returns all columns of rows in order; some of them at the end."""
    names = list(dict.fromkeys(name for each in rows for name in each))
    return [name for name in names if name not in last] + [n for n in last if n in names]


def to_csv(rows: Sequence[Row]) -> str:
    """Returns rows as CSV, figures in full."""
    text = io.StringIO()
    writer = csv.DictWriter(text, headings(rows), restval='', lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_markdown(rows: Sequence[Row]) -> str:
    """Returns rows as a table of Markdown; a mean with its deviation in one entry."""
    names = [name for name in headings(rows) if not name.endswith(' sd')]
    lines = ['| ' + ' | '.join(names) + ' |', '|' + '---|' * len(names)]
    for each in rows:
        entries = [
            _UNRESOLVED
            if name.startswith('recall') and name in each and each[name] is None
            else _entry(name, each.get(name), each.get(f'{name} sd'))
            # What a row was not asked has no answer; whatever trains has an epsilon or none.
            if name in each or name in EPSILONS
            else ''
            for name in names
        ]
        lines.append('| ' + ' | '.join(entries) + ' |')
    return '\n'.join(lines) + '\n'


def _entry(name: str, value: Any, deviation: Optional[float]) -> str:
    if name.startswith(EPSILON) and name != _OF:
        return 'none' if value is None else rounding.text(value)
    if value is None:
        return 'not reached' if name.startswith('fewest') else ''
    if isinstance(value, float) and name.startswith('recall'):
        return f'{value:.4f}' + ('' if deviation is None else f' ± {deviation:.4f}')
    if name == 'seconds' or isinstance(value, int):
        return f'{value:,.0f}'
    return str(value)

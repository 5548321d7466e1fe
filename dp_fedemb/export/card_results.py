"""The results on a model card: what an evaluation says, without anybody's name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from dp_fedemb.evaluation import verification

# Of an evaluation.json, what names nobody and no place.
_RELEASED = (
    'model_fingerprint',
    'task',
    'part',
    'num_users',
    'num_images',
    'num_identities',
    'lone_images',
    'genuine_pairs',
    'impostor_pairs',
    'image_shape',
    'embedding_dim',
    'points',
    'headline_far',
    'roc',
    'metrics',
    'baselines',
    'beats_baselines',
    'verdict',
)
_ROW = ('identities', 'images', 'recall', 'low', 'high', 'false_accept_rate')
_ROW_HEAD = ('identities', 'images', 'recall', '95% from', 'to', 'false accept rate')


def released(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what of an evaluation may be given away.

    Groups lose their names, which may be those of people: they are numbered by recall.

    Args:
        values: of an evaluation.json.
    """
    kept = {name: values[name] for name in _RELEASED if name in values}
    breakdown = values.get('breakdown')
    if breakdown:
        parts = ('far', 'identities', 'users', 'by_number_of_images')
        kept['breakdown'] = {name: breakdown[name] for name in parts if name in breakdown}
        groups = sorted(
            breakdown.get('groups', {}).values(), key=lambda row: -(row['recall'] or 0)
        )
        if groups:
            gap = breakdown.get('gap') or {}
            kept['breakdown']['groups'] = {
                f'group {number}': row for number, row in enumerate(groups, start=1)
            }
            kept['breakdown']['gap'] = {
                name: gap[name] for name in ('difference', 'low', 'high') if name in gap
            }
    return kept


def sections(values: Mapping[str, Any]) -> list[str]:
    """Returns paragraphs and tables.

    Args:
        values: what `released` returned.
    """
    # Public images may have been trained on, too.
    unseen = ' that no training user holds' if values.get('part') != 'public' else ''
    of_task = f', part {values["part"]} of task `{values["task"]}`' if 'task' in values else ''
    lines = [
        f'{values["num_images"]:,} images of {values["num_identities"]:,} identities'
        f'{unseen}{of_task}: {values["genuine_pairs"]:,} pairs of one identity and'
        f' {values["impostor_pairs"]:,} of two, all compared. FAR is the fraction of pairs of'
        ' two identities that are accepted, recall that of pairs of one.',
        *([values['verdict']] if values.get('verdict') else []),
        _points(values),
    ]
    others = [
        [name, figure(value)]
        for name, value in values['metrics'].items()
        if not verification.is_recall(name)
    ]
    if others:
        lines.append(table(['figure', 'value'], others))
    lines += _baselines(values)
    lines += _breakdown(values.get('breakdown') or {})
    return lines


def figure(value: Optional[float]) -> str:
    """Returns a figure with four digits, or a dash."""
    return '-' if value is None else f'{value:.4f}'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a table in Markdown."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(map(_cell, line)) + ' |' for line in lines)


def _cell(entry: Any) -> str:
    return str(entry).replace('|', '\\|').replace('\n', ' ')


def _points(values: Mapping[str, Any]) -> str:
    rows = []
    for point in values['points']:
        far = f'{point["target_far"]:g}'
        if point['reason']:
            rows.append([far, 'not resolvable', '', '', ''])
            continue
        low, high = _interval(point, values['metrics'])
        few = ' (few pairs)' if point.get('warning') else ''
        rows.append(
            [
                far + few,
                figure(point['recall']),
                '-' if low is None else f'{figure(low)} - {figure(high)}',
                f'{point["threshold"]:.5f}',
                f'{point["accepted_impostors"]:,}',
            ]
        )
    head = ['FAR at most', 'recall', '95% interval', 'threshold', 'accepted impostor pairs']
    return table(head, rows)


def _interval(
    point: Mapping[str, Any], metrics: Mapping[str, Any]
) -> tuple[Optional[float], Optional[float]]:
    """Of the recall; earlier evaluations have it among their metrics."""
    name = verification.recall_name(point['target_far'])
    low, high = (point.get(end, metrics.get(f'{name} {end}')) for end in ('low', 'high'))
    return (None, None) if low is None or high is None else (low, high)


def _baselines(values: Mapping[str, Any]) -> list[str]:
    far = values.get('headline_far')
    rows = []
    for baseline in values.get('baselines') or ():
        points = [point for point in baseline['points'] if point['target_far'] == far]
        rows += [[baseline['name'], figure(point['recall'])] for point in points]
    if not rows:
        return []
    own = [point['recall'] for point in values['points'] if point['target_far'] == far]
    rows.insert(0, ['this model', *map(figure, own)])
    return [
        'Beside it, without any learning of identities:',
        table(['', f'recall at FAR {far:g}'], rows),
    ]


def _breakdown(values: Mapping[str, Any]) -> list[str]:
    if not values:
        return []
    lines = [f'For whom, at one threshold for all (FAR {values["far"]:g} over all pairs):']
    rows = []
    for kind in ('identities', 'users'):
        of = values.get(kind) or {}
        if of.get('count'):
            spread = (of['mean'], of['median'], of['worst_mean'])
            rows.append([kind, f'{of["count"]:,}', *map(figure, spread), f'{of["at_zero"]:,}'])
    head = ['of', 'with a pair', 'mean recall', 'median', 'mean of the worst 5%', 'recall 0']
    lines.append(table(head, rows))
    counts = values.get('by_number_of_images') or ()
    rows = [[f'{row["from"]} to {row["to"]}', row['users'], *_row(row)] for row in counts]
    if rows:
        lines.append(table(["user's images", 'users', *_ROW_HEAD], rows))
    groups = values.get('groups') or {}
    if groups:
        rows = [[name, *_row(row)] for name, row in groups.items()]
        lines.append(table(['group, by recall', *_ROW_HEAD], rows))
        gap = values.get('gap')
        if gap:
            lines.append(
                f'Between the first and the last: {gap["difference"]:.4f} (95%'
                f' {gap["low"]:.4f} to {gap["high"]:.4f}).'
            )
    return lines


def _row(row: Mapping[str, Any]) -> list[str]:
    identities, images, *figures, far = (row[name] for name in _ROW)
    return [f'{identities:,}', f'{images:,}', *map(figure, figures), f'{far:.2e}']

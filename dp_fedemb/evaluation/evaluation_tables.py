"""The tables of an evaluation."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dp_fedemb.evaluation import collection
from dp_fedemb.evaluation import result_table
from dp_fedemb.evaluation import verification
from dp_fedemb.evaluation.result_table import Column

_FAR = Column('FAR at most', 'g')
_RECALL = Column('recall', '.4f')
_INTERVAL = (Column('95% from', '.4f'), Column('to', '.4f'))


def all_tables(values: Mapping[str, Any]) -> Iterator[result_table.Table]:
    """Yields every table of what `collection.collect` returned."""
    yield _verification(values)
    others = [(n, v) for n, v in values['metrics'].items() if not verification.is_recall(n)]
    if others:
        yield result_table.Table(
            'figures', 'Other figures', (Column('figure'), Column('value', '.4f')), others
        )
    if values['baselines']:
        yield _baselines(values)
    if values.get('protocols'):
        yield _protocols(values)
    yield result_table.Table(
        'roc',
        'ROC curve',
        (Column('FAR', 'g'), _RECALL, Column('threshold', '.5f')),
        values['roc'],
        shown=False,
    )


def text(values: Mapping[str, Any], tables: Iterable[result_table.Table]) -> str:
    """Returns what people at a terminal are shown: counts, tables and verdict."""
    counts = (
        f'{values["num_images"]:,} images of {values["num_identities"]:,} identities'
        f' ({values["lone_images"]:,} with one image):'
        f' {values["genuine_pairs"]:,} genuine and {values["impostor_pairs"]:,} impostor'
        ' pairs'
    )
    shown = [table.text() for table in tables if table.shown and table.rows]
    return '\n\n'.join([counts, *shown, values['verdict']])


def _verification(values: Mapping[str, Any]) -> result_table.Table:
    rows, notes = [], []
    for point in values['points']:
        far = point['target_far']
        rows.append(
            (
                far,
                point['recall'],
                point['low'],
                point['high'],
                point['threshold'],
                *(
                    (point['accepted_genuine'], point['accepted_impostors'])
                    if not point['reason']
                    else (None, None)
                ),
            )
        )
        if point['reason']:
            notes.append(f'FAR {far:g} not resolvable: {point["reason"]}')
        elif point['warning']:
            notes.append(f'FAR {far:g} is uncertain: {point["warning"]}')
    columns = (
        _FAR,
        _RECALL,
        *_INTERVAL,
        Column('threshold', '.5f'),
        Column('accepted genuine', ','),
        Column('accepted impostors', ','),
    )
    title = 'Do two images show the same identity?'
    return result_table.Table('verification', title, columns, rows, notes)


def _baselines(values: Mapping[str, Any]) -> result_table.Table:
    far = values['headline_far']
    model = collection.at(values['points'], far)
    rows = [_row('this model', model, values['metrics'].get('precision@1'), {})]
    for other in values['baselines']:
        point = collection.at(other['points'], far)
        precision = other['metrics'].get('precision@1')
        rows.append(_row(other['name'], point, precision, other['difference'] or {}))
    columns = (
        Column('embedding'),
        _RECALL,
        *_INTERVAL,
        Column('model is better by', '+.4f'),
        Column('95% from', '+.4f'),
        Column('to', '+.4f'),
        Column('precision@1', '.4f'),
    )
    title = 'Beside embeddings that nobody trained'
    if far is not None:
        title += f', at FAR {far:g}'
    notes = [f'{other["name"]}: {other["description"]}' for other in values['baselines']]
    return result_table.Table('baselines', title, columns, rows, notes)


def _protocols(values: Mapping[str, Any]) -> result_table.Table:
    names = ('name', 'pairs', 'folds', 'accuracy', 'accuracy_std', 'accuracy_stderr')
    forms = ('', ',', '', '.4f', '.4f', '.4f')
    far = values['headline_far']
    rows = [
        (*(one[name] for name in names), collection.at(one['points'], far).get('recall'))
        for one in values['protocols']
    ]
    columns = [
        *(Column(name.replace('accuracy_', ''), form) for name, form in zip(names, forms)),
        Column('recall' if far is None else f'recall at FAR {far:g}', '.4f'),
    ]
    title = 'Lists of pairs: threshold from the other folds'
    return result_table.Table('protocols', title, columns, rows)


def _row(
    name: str, point: Mapping[str, Any], precision: Any, difference: Mapping[str, Any]
) -> tuple[Any, ...]:
    return (
        name,
        *(point.get(key) for key in ('recall', 'low', 'high')),
        *(difference.get(key) for key in ('difference', 'low', 'high')),
        precision,
    )

"""Several models on the same images: each one's figures, and their differences."""

from collections.abc import Iterator, Mapping, Sequence
import os
from typing import Any, Optional

from dp_fedemb.evaluation import collection
from dp_fedemb.evaluation import comparison
from dp_fedemb.evaluation import evaluated as evaluated_lib
from dp_fedemb.evaluation import result_table
from dp_fedemb.evaluation.report import words
from dp_fedemb.evaluation.result_table import Column

_INTERVAL = (Column('95% from', '.4f'), Column('to', '.4f'))
_KEPT = ('model', 'model_fingerprint', 'embedding_dim', 'points', 'metrics')


def names_of(paths: Sequence[str]) -> list[str]:
    """Returns short names of directories, no two of them the same."""
    paths = [os.path.normpath(path) for path in paths]
    short = [os.path.basename(path) for path in paths]
    names = [path if short.count(name) > 1 else name for path, name in zip(paths, short)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'compare: {name} is named twice')
    return names


def compare(
    found: Sequence[evaluated_lib.Evaluated],
    names: Sequence[str],
    statements: Sequence[Optional[Mapping[str, Any]]],
) -> dict[str, Any]:
    """Compares models.

    Args:
        found: evaluations on the same images; the first says at which rate.
        names: of the models.
        statements: their privacy statements, or None.

    Returns:
        JSON values: `title`, `about`, `headline_far`, the counts of images and pairs,
        `models`, `baselines` and `differences` ('one' minus 'other', of every two models,
        with the ends of the paired interval).
    """
    first = found[0].values
    far = first['headline_far']
    models = []
    for one, name, statement in zip(found, names, statements):
        epsilon = None if statement is None else words.guarantee(statement)[0]
        kept = {key: one.values[key] for key in _KEPT}
        models.append({'name': name, 'epsilon_user': epsilon, **kept})
    differences = []
    for place, one in enumerate(found):
        for other_place in range(place + 1, len(found)):
            difference = comparison.against(one.images, found[other_place].images, far)
            if difference is not None:
                pair = {'one': names[place], 'other': names[other_place]}
                differences.append({**pair, **difference})
    counts = ('num_images', 'num_identities', 'lone_images', 'genuine_pairs', 'impostor_pairs')
    return {
        'title': f'{len(names)} models side by side: {first["task"]}',
        'about': [
            f'Models {", ".join(names)}.',
            *first['about'][1:],
            *(one.values['warning'] for one in found[1:] if 'warning' in one.values),
        ],
        **{name: first[name] for name in counts},
        'headline_far': far,
        'models': models,
        'baselines': [
            {key: other[key] for key in ('name', 'description', 'points', 'metrics')}
            for other in first['baselines']
        ],
        'differences': differences,
        'verdict': _verdict(models, differences, far),
    }


def tables(values: Mapping[str, Any]) -> Iterator[result_table.Table]:
    """Yields the tables of a comparison."""
    far = values['headline_far']
    at = '' if far is None else f', at FAR {far:g}'
    rows = []
    for one in (*values['models'], *values['baselines']):
        point = collection.at(one['points'], far)
        figures = (one['metrics'].get(name) for name in ('auc', 'eer', 'precision@1'))
        recalls = (point.get(name) for name in ('recall', 'low', 'high'))
        rows.append((one['name'], one.get('epsilon_user'), *recalls, *figures))
    columns = (
        Column('embedding'),
        Column('epsilon', '.6g'),
        Column('recall', '.4f'),
        *_INTERVAL,
        *(Column(name, '.4f') for name in ('auc', 'eer', 'precision@1')),
    )
    notes = ['a dash for epsilon: no differential privacy guarantee is known']
    yield result_table.Table('models', f'Models and baselines{at}', columns, rows, notes)
    keys = ('one', 'other', 'difference', 'low', 'high')
    pairs = [[difference[key] for key in keys] for difference in values['differences']]
    columns = (
        Column('recall of'),
        Column('less that of'),
        Column('is', '+.4f'),
        Column('95% from', '+.4f'),
        Column('to', '+.4f'),
    )
    notes = ['identities are drawn anew for both models together, a thousand times']
    yield result_table.Table('differences', f'Differences{at}', columns, pairs, notes)
    fars = [point['target_far'] for point in values['models'][0]['points']]
    rows = [
        (rate, *(collection.at(one['points'], rate).get('recall') for one in values['models']))
        for rate in fars
    ]
    columns = (
        Column('FAR at most', 'g'),
        *(Column(one['name'], '.4f') for one in values['models']),
    )
    yield result_table.Table('recalls', 'Recall at every rate', columns, rows)


def _verdict(
    models: Sequence[Mapping[str, Any]],
    differences: Sequence[Mapping[str, Any]],
    far: Optional[float],
) -> str:
    known = [
        one for one in models if collection.at(one['points'], far).get('recall') is not None
    ]
    if not known:
        return 'There are too few pairs to compare these models.'
    best = max(known, key=lambda one: collection.at(one['points'], far)['recall'])
    equal = [
        ({one['one'], one['other']} - {best['name']}).pop()
        for one in differences
        if best['name'] in (one['one'], one['other']) and one['low'] <= 0 <= one['high']
    ]
    recall = collection.at(best['points'], far)['recall']
    said = f'{best["name"]} has the highest recall at FAR {far:g}, {recall:.4f}'
    if equal:
        return f'{said}; it is not clearly better than {", ".join(equal)}.'
    return f'{said}, and is better than each other model by more than chance.'

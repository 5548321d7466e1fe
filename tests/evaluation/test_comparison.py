"""Paired differences, the rate to speak of, and the verdict in words."""

import json

import numpy as np
import pytest

from dp_fedemb import evaluation
from dp_fedemb.evaluation import collection
from dp_fedemb.evaluation import comparison
from dp_fedemb.evaluation import evaluation_tables
from dp_fedemb.evaluation import intervals


def clouds(noise, seed=0, identities=60, fars=(0.1, 0.01, 1e-3, 1e-4, 1e-9)):
    generator = np.random.default_rng(seed)
    labels = np.arange(identities).repeat(5)
    centres = np.random.default_rng(7).normal(size=(identities, 16))
    vectors = centres[labels] + noise * generator.normal(size=(len(labels), 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return evaluation.EmbeddedImages(vectors.astype(np.float32), labels, fars)


def test_paired_interval_is_narrower_and_covers():
    """Two models whose identities are hard for both: the difference is 0.1 for everybody."""
    rng = np.random.default_rng(0)
    covered, paired, alone = 0, [], []
    for trial in range(100):
        hardness = rng.random(60)
        pairs = np.full(60, 200)
        one, other = (
            intervals.IdentityRecall(np.arange(60), rng.binomial(200, 0.1 + 0.8 * p), pairs)
            for p in (hardness, np.maximum(hardness - 0.125, -0.125))
        )
        low, high = intervals.difference_interval(one, other, 0.9, 200, trial)
        covered += low <= 0.1 <= high
        paired.append(high - low)
        alone.append(np.diff(one.interval(0.9, 200, trial))[0])
    assert 80 <= covered <= 98
    assert np.mean(paired) < np.mean(alone) / 3
    with pytest.raises(ValueError, match='different identities'):
        intervals.difference_interval(
            one, intervals.IdentityRecall(np.arange(59), one.accepted[1:], pairs[1:])
        )


def text_of(values):
    return evaluation_tables.text(values, evaluation_tables.all_tables(values))


@pytest.mark.parametrize(
    'wanted, expected', [(1e-3, 1e-3), (1e-4, 1e-3), (5e-3, 0.01), (0.5, 0.1)]
)
def test_headline_rests_on_enough_pairs(wanted, expected):
    """44,250 impostor pairs allow 4 at 1e-4, and 44 at 1e-3."""
    assert comparison.headline(collection.points_of(clouds(1.0)), wanted) == expected


def test_verdict_says_who_wins():
    good, bad = clouds(0.6), clouds(1.4, seed=1)
    for model, other, beats, words in (
        (good, bad, True, 'The model beats pixels'),
        (bad, good, False, 'The model LOSES to pixels'),
        (good, good, False, 'not clearly better than pixels'),
    ):
        rivals = [collection.Rival('pixels', 'bare', other)]
        values = collection.collect(model, ['verification', 'retrieval'], {}, 1e-3, rivals)
        assert values['beats_baselines'] is beats and words in values['verdict']
        (rival,) = values['baselines']
        difference = rival['difference']
        recalls = [images.point(1e-3).recall for images in (model, other)]
        assert difference['difference'] == pytest.approx(recalls[0] - recalls[1])
        assert difference['low'] <= difference['difference'] <= difference['high']
        assert values['verdict'] in text_of(values)
        assert f'{recalls[1]:.4f}' in values['verdict']


def test_values_are_json_and_warn_of_few_pairs():
    values = collection.collect(clouds(1.0), ['verification'], {})
    json.dumps(values, allow_nan=False)
    points = {point['target_far']: point for point in values['points']}
    assert points[1e-4]['warning'].startswith('rests on 4.42 of 44,250 impostor pairs')
    assert not points[1e-3]['warning'] and points[1e-9]['recall'] is None
    assert points[0.01]['low'] < points[0.01]['recall'] < points[0.01]['high']
    text = text_of(values)
    assert 'FAR 0.0001 is uncertain' in text and 'FAR 1e-09 not resolvable' in text
    assert values['beats_baselines'] is None and 'with no baseline' in values['verdict']
    lone = evaluation.EmbeddedImages(np.eye(3, dtype=np.float32), np.arange(3))
    values = collection.collect(lone, ['verification', 'retrieval'], {})
    json.dumps(values, allow_nan=False)
    assert values['headline_far'] is None and 'too few pairs' in values['verdict']
    assert text_of(values)


def test_every_table_is_csv():
    rivals = [collection.Rival('pixels', 'bare', clouds(1.4))]
    values = collection.collect(clouds(0.6), ['verification'], {}, 1e-3, rivals)
    tables = {table.name: table for table in evaluation_tables.all_tables(values)}
    assert set(tables) == {'verification', 'figures', 'baselines', 'roc'}
    lines = tables['verification'].csv().splitlines()
    assert lines[0].startswith('FAR at most,recall,95% from,to,threshold')
    assert len(lines) == 6 and lines[-1] == '1e-09,,,,,,'
    assert float(lines[1].split(',')[1]) == values['points'][0]['recall']
    assert 'this model' in tables['baselines'].html() and '<script' not in tables['roc'].html()

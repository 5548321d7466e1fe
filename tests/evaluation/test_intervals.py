"""Bootstrap over identities: coverage, and the names of all metrics."""

import numpy as np
import pytest

from dp_fedemb import evaluation
from dp_fedemb.evaluation import intervals


def test_interval_covers_as_often_as_it_says():
    """Identities of recall 0 or 1: the recall's spread is binomial in identities.

    Were pairs resampled instead, intervals would be narrower by the square root of
    the 45 pairs of an identity and cover almost never.
    """
    rng = np.random.default_rng(0)
    covered, widths = 0, []
    for trial in range(200):
        accepted = 45 * (rng.random(80) < 0.4)
        recall = intervals.IdentityRecall(np.arange(80), accepted, np.full(80, 45))
        low, high = recall.interval(level=0.9, replicates=200, seed=trial)
        covered += low <= 0.4 <= high
        widths.append(high - low)
    assert 0.82 <= covered / 200 <= 0.96
    assert np.mean(widths) == pytest.approx(2 * 1.645 * np.sqrt(0.24 / 80), rel=0.1)


def test_interval_weighs_identities_by_their_pairs():
    recall = intervals.IdentityRecall(np.arange(2), np.array([0, 100]), np.array([1, 100]))
    low, high = recall.interval(replicates=200)
    assert low == 0 and high == 1
    np.testing.assert_allclose(recall.recall, [0, 1])
    with pytest.raises(ValueError, match='level=1'):
        recall.interval(level=1)


@pytest.fixture(scope='module')
def images():
    rng = np.random.default_rng(3)
    identities = np.append(np.arange(300) // 6, [98, 99])
    embeddings = rng.standard_normal((100, 8))[identities] + 0.7 * rng.standard_normal((302, 8))
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype('f4')
    pairs = evaluation.VerificationPairs(
        np.arange(299), np.arange(1, 300), np.diff(identities[:300]) == 0, np.arange(299) % 10
    )
    return evaluation.EmbeddedImages(embeddings, identities, (0.01, 1e-9), pairs)


def test_all_metrics_by_name(images):
    values = {}
    for metric in evaluation.METRICS.values():
        of_metric = metric(images)
        assert not set(of_metric) & set(values)
        values.update(of_metric)
    assert 0 < values['recall@FAR=0.01'] < 1 and np.isnan(values['recall@FAR=1e-09'])
    assert 0 < values['eer'] < 0.5 < values['auc'] < 1
    assert 0.5 < values['pairs accuracy'] <= 1 and values['map@100'] > values['map@r']


def test_identities_without_a_pair_are_left_out(images):
    recall = intervals.recall_by_identity(images.scores, images.verification.points[0])
    assert list(recall.identities) == list(range(50)) and np.all(recall.pairs == 15)
    assert recall.accepted.sum() == images.verification.points[0].accepted_genuine


def test_pairs_need_a_protocol(images):
    bare = evaluation.EmbeddedImages(images.embeddings, images.identities)
    with pytest.raises(ValueError, match='the task has no list of pairs'):
        evaluation.METRICS['pairs'](bare)
    with pytest.raises(ValueError, match='far=2'):
        evaluation.EmbeddedImages(images.embeddings, images.identities, (2,))

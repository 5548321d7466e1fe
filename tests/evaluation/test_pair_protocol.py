"""The protocol of given pairs: folds, threshold from the others, ties."""

import numpy as np
import pytest

from dp_fedemb.evaluation import all_pairs
from dp_fedemb.evaluation import pair_protocol as pairs_lib
from dp_fedemb.evaluation import verification


def embeddings_of(similarities):
    """Row 0 and one row for each similarity to it."""
    s = np.array([1.0, *similarities])
    return np.stack([s, np.sqrt(1 - s**2)], axis=1).astype(np.float32)


def pairs_of(same, fold):
    p = len(same)
    return pairs_lib.VerificationPairs(np.zeros(p), np.arange(1, p + 1), same, fold)


def test_threshold_comes_from_the_other_folds():
    """Fold 1 alone would choose 0.15 and be right always; fold 0 says 0.5."""
    similarities = [0.5, 0.6, 0.3, 0.4, 0.15, 0.2, 0.1, 0.05]
    same = [True, True, False, False, True, True, False, False]
    pairs = pairs_of(same, [0] * 4 + [1] * 4)
    result = pairs_lib.evaluate(embeddings_of(similarities), pairs)
    np.testing.assert_allclose(result.thresholds, [0.15, 0.5], atol=1e-6)
    # Fold 0 at 0.15 accepts all; fold 1 at 0.5 rejects all.
    np.testing.assert_allclose(result.accuracies, [0.5, 0.5])
    assert result.accuracy == 0.5 and result.accuracy_std == 0
    assert (result.genuine_pairs, result.impostor_pairs) == (4, 4)


def brute_force_threshold(scores, same):
    candidates = [*sorted(set(scores)), max(scores) + 1]
    return max(candidates, key=lambda t: (np.sum((scores >= t) == same), -t))


@pytest.mark.parametrize('seed', range(5))
def test_equals_brute_force_with_ties(seed):
    rng = np.random.default_rng(seed)
    same = rng.random(200) < 0.5
    similarities = np.round(rng.normal(0.2 + 0.3 * same, 0.2), 1).clip(-1, 1)
    fold = np.arange(200) % 10
    embeddings = embeddings_of(similarities)
    result = pairs_lib.evaluate(embeddings, pairs_of(same, fold), fars=[0.1])
    steps = np.rint(embeddings[1:, 0].astype(np.float64) / all_pairs.STEP)
    expected = []
    for held_out in range(10):
        others = fold != held_out
        threshold = brute_force_threshold(steps[others], same[others])
        expected.append(np.mean((steps[~others] >= threshold) == same[~others]))
    np.testing.assert_allclose(result.accuracies, expected)
    assert result.accuracy == pytest.approx(np.mean(expected))
    assert result.accuracy_std == pytest.approx(np.std(expected, ddof=1))
    assert result.accuracy_stderr == pytest.approx(np.std(expected, ddof=1) / np.sqrt(10))
    (point,) = result.points
    allowed = int((~same).sum() * 0.1 + 1e-9)
    threshold = np.sort(steps[~same])[::-1][allowed] + 1
    assert point.recall == np.mean(steps[same] >= threshold) and point.far <= 0.1


def test_all_pairs_as_a_protocol_give_the_same_recall():
    rng = np.random.default_rng(1)
    identities = np.arange(60) // 6
    embeddings = rng.standard_normal((10, 8))[identities] + rng.standard_normal((60, 8))
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype('f4')
    first, second = np.triu_indices(60, 1)
    pairs = pairs_lib.VerificationPairs(
        first, second, identities[first] == identities[second], np.arange(len(first)) % 10
    )
    expected = verification.recall_at_far(embeddings, identities, [0.01, 0.1])
    points = pairs_lib.evaluate(embeddings, pairs, [0.01, 0.1]).points
    for point, other in zip(points, expected):
        assert point.recall == pytest.approx(other.recall, abs=0.01)
        assert point.threshold == pytest.approx(other.threshold, abs=2 * all_pairs.STEP)


@pytest.mark.parametrize(
    'first, fold, words',
    [
        ([0, 1], [0, 0], r'folds \[0\]: expected 0, 1, ... and at least two'),
        ([0, 1], [0, 2], r'folds \[0, 2\]'),
        ([0, -1], [0, 1], 'a row is negative'),
        ([0], [0, 1], 'expected one length'),
    ],
)
def test_wrong_pairs(first, fold, words):
    with pytest.raises(ValueError, match=words):
        pairs_lib.VerificationPairs(first, [1, 1], [True, False], fold)


def test_pairs_of_another_store():
    with pytest.raises(ValueError, match='speak of row 3, there are 3 embeddings'):
        pairs = pairs_of([True, True, False], [0, 1, 1])
        pairs_lib.evaluate(embeddings_of([0.5, 0.2]), pairs)

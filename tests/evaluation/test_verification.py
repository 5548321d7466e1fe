"""Verification over all pairs against brute force, with ties and duplicates."""

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from dp_fedemb.evaluation import all_pairs
from dp_fedemb.evaluation import verification


def brute_force(embeddings, identities, far):
    """Recall, FAR and accepted pairs by trying every similarity as the threshold."""
    scores = embeddings.astype(np.float64) @ embeddings.T.astype(np.float64)
    scores = np.rint(scores / all_pairs.STEP).astype(int)
    first, second = np.triu_indices(len(scores), 1)
    same = np.asarray(identities)[first] == np.asarray(identities)[second]
    genuine, impostor = scores[first, second][same], scores[first, second][~same]
    every = scores[first, second]
    candidates = np.unique([every, every + 1])
    accepted = len(impostor) - np.searchsorted(np.sort(impostor), candidates)
    threshold = candidates[accepted * 1000 <= round(far * 1000) * len(impostor)][0]
    return {
        'genuine': genuine,
        'impostor': impostor,
        'threshold': threshold,
        'accepted': ((genuine >= threshold).sum(), (impostor >= threshold).sum()),
    }


# Entries of eighths and four of norm 1: products are exact, and many are equal.
GRID = np.array(
    [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0.5, 0.5, 0.5, 0.5],
        [0.5, -0.5, 0.5, -0.5],
        [-0.5, -0.5, -0.5, -0.5],
        [0.5, 0.5, 0.5, -0.5],
        [-1, 0, 0, 0],
        [0, 0, 0, 0],
    ],
    np.float32,
)


@hypothesis.settings(max_examples=40)
@hypothesis.given(
    images=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4)), min_size=2, max_size=40),
    far=st.sampled_from([0.001, 0.01, 0.1, 0.29, 0.5, 0.9]),
)
def test_equals_brute_force_with_ties_and_duplicates(images, far):
    rows, identities = map(np.array, zip(*images))
    result = verification.verify(GRID[rows], identities, [far])
    (point,) = result.points
    expected = brute_force(GRID[rows], identities, far)
    genuine, impostor = expected['genuine'], expected['impostor']
    assert (result.genuine_pairs, result.impostor_pairs) == (len(genuine), len(impostor))
    if not len(genuine) or len(impostor) * round(far * 1000) < 1000:
        assert np.isnan(point.recall) and point.reason
        return
    assert (point.accepted_genuine, point.accepted_impostors) == expected['accepted']
    assert point.recall == expected['accepted'][0] / len(genuine)
    assert point.far <= far and point.far == expected['accepted'][1] / len(impostor)
    assert point.threshold == expected['threshold'] * all_pairs.STEP
    more = impostor[:, None] < genuine[None, :]
    tied = impostor[:, None] == genuine[None, :]
    assert result.auc == pytest.approx(more.mean() + tied.mean() / 2)
    worse = [
        max((impostor >= t).mean(), (genuine < t).mean())
        for t in {*genuine, *impostor, *(genuine + 1), *(impostor + 1)}
    ]
    assert result.eer == pytest.approx(min(worse))


@pytest.fixture(scope='module')
def clusters():
    """2,200 embeddings in several tiles, one identity across a border, unsorted."""
    rng = np.random.default_rng(7)
    identities = rng.integers(0, 80, 2200)
    identities[rng.permutation(2200)[:400]] = 40
    centres = rng.standard_normal((80, 32))
    embeddings = centres[identities] + 1.2 * rng.standard_normal((2200, 32))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings.astype(np.float32), identities


def test_many_tiles_equal_brute_force(clusters):
    embeddings, identities = clusters
    fars = [0.001, 0.01, 0.3]
    result = verification.verify(embeddings, identities, fars)
    for far, point in zip(fars, result.points):
        expected = brute_force(embeddings, identities, far)
        genuine, impostor = expected['genuine'], expected['impostor']
        assert (result.genuine_pairs, result.impostor_pairs) == (len(genuine), len(impostor))
        # Products of another order of summation differ by a step here and there.
        assert point.threshold == pytest.approx(
            expected['threshold'] * all_pairs.STEP, abs=2 * all_pairs.STEP
        )
        assert point.accepted_genuine == pytest.approx(expected['accepted'][0], abs=20)
        assert abs(point.accepted_impostors - expected['accepted'][1]) <= 20
        assert point.accepted_impostors <= far * len(impostor)
    bins = np.digitize(genuine * all_pairs.STEP, result.edges) - 1
    exact = np.bincount(bins, minlength=all_pairs.NUM_BINS)
    assert np.abs(result.genuine - exact).sum() <= 0.005 * len(genuine)


@pytest.mark.parametrize('rows, columns', [(256, 100), (64, 64), (7, 3000)])
def test_tiles_do_not_matter(clusters, monkeypatch, rows, columns):
    embeddings, identities = (array[:600] for array in clusters)
    whole = all_pairs.PairScores(embeddings, identities).histograms()
    monkeypatch.setattr(all_pairs, '_TILE_ROWS', rows)
    monkeypatch.setattr(all_pairs, '_TILE_COLUMNS', columns)
    tiled = all_pairs.PairScores(embeddings, identities).histograms()
    for one, other in zip(whole, tiled):
        assert one.sum() == other.sum()
        # Products of another order of summation move a pair over an edge at times.
        assert np.abs(one - other).sum() <= 0.005 * one.sum()


def test_far_is_a_decimal_number():
    """29 of 100 is allowed, though 0.29 * 100 is 28.999... in binary."""
    (point,) = verification.of_sorted_steps(np.arange(100), np.arange(100), [0.29])
    assert point.accepted_impostors == 29 and point.accepted_genuine == 29


def test_order_of_images_does_not_matter(clusters):
    embeddings, identities = clusters
    order = np.random.default_rng(0).permutation(len(identities))
    straight = verification.verify(embeddings, identities)
    shuffled = verification.verify(embeddings[order], identities[order])
    for one, other in zip(straight.points, shuffled.points):
        assert one.recall == pytest.approx(other.recall, abs=1e-4)
        assert one.threshold == pytest.approx(other.threshold, abs=2 * all_pairs.STEP)


def test_roc_points_are_exact_and_rise(clusters):
    result = verification.verify(*clusters)
    far, recall, thresholds = result.roc()
    assert (far[0], recall[0], far[-1], recall[-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(far) >= 0) and np.all(np.diff(recall) >= 0)
    assert np.all(np.diff(thresholds) < 0)
    for point in result.points:
        # The curve passes through what was resolved exactly.
        assert recall[far <= point.far].max() <= point.recall
        assert recall[far > point.far].min() >= point.recall
    assert result.auc == pytest.approx(np.trapz(recall, far), abs=1e-9)
    assert result.auc_error < 1e-4


def test_accepted_by_identity_adds_up(clusters):
    embeddings, identities = clusters
    scores = all_pairs.PairScores(embeddings, identities)
    for point in verification.of_scores(scores).points:
        accepted = scores.accepted_by_identity(point.threshold)
        assert accepted.sum() == point.accepted_genuine
        assert np.all(accepted <= scores.counts * (scores.counts - 1) // 2)


def test_one_identity_has_no_impostor():
    (point,) = verification.recall_at_far(GRID[:4], np.zeros(4), [0.1])
    assert np.isnan(point.recall) and '0 impostor pairs cannot' in point.reason
    result = verification.verify(GRID[:4], np.zeros(4))
    assert np.isnan(result.auc) and np.isnan(result.eer) and not len(result.roc()[0])


def test_identities_of_one_image_have_no_genuine_pair():
    (point,) = verification.recall_at_far(GRID[:4], np.arange(4), [0.5])
    assert np.isnan(point.recall) and 'no pair is genuine' in point.reason


def test_far_that_so_few_pairs_cannot_resolve():
    point, resolved = verification.recall_at_far(GRID[:4], [0, 0, 1, 1], [0.2, 0.25])
    assert np.isnan(point.recall) and 'expected at least 5' in point.reason
    assert resolved.resolvable and resolved.accepted_impostors <= 1


def test_collapsed_model_accepts_nobody():
    """All similarities equal: accepting one impostor means accepting all."""
    embeddings = np.tile(GRID[2], (30, 1))
    result = verification.verify(embeddings, np.arange(30) // 3, [0.1])
    assert result.points[0].recall == 0 and result.points[0].accepted_impostors == 0
    assert result.points[0].threshold > 1
    assert result.auc == pytest.approx(0.5) and result.eer == 1


def test_perfect_model():
    embeddings = np.eye(10, dtype=np.float32)[np.arange(30) // 3]
    result = verification.verify(embeddings, np.arange(30) // 3, [0.01])
    assert result.points[0].recall == 1 and result.auc == 1 and result.eer == 0


def test_identities_may_be_names():
    names = np.array(['ann', 'bob', 'ann', 'bob'])
    assert verification.verify(GRID[:4], names, [0.25]).genuine_pairs == 2


@pytest.mark.parametrize('far', [0.0, 1.0, -0.1, float('nan')])
def test_far_outside_its_range(far):
    with pytest.raises(
        ValueError, match=f'far={far}: expected a number of at least 1e-12 and below 1'
    ):
        verification.verify(GRID[:4], [0, 0, 1, 1], [far])


@pytest.mark.parametrize(
    'embeddings, identities, words',
    [
        (GRID[:4] * 2, [0, 0, 1, 1], r'4 of 4 are not of norm 1 \(row 0: 2\)'),
        (np.full((4, 2), np.nan), [0, 0, 1, 1], 'row 0: nan'),
        (GRID[:4], [0, 0, 1], r'embeddings \[4, 4\], identities \[3\]'),
    ],
)
def test_wrong_embeddings(embeddings, identities, words):
    with pytest.raises(ValueError, match=words):
        verification.verify(np.asarray(embeddings, np.float32), identities)


def test_import_does_not_load_tensorflow():
    import subprocess
    import sys

    code = (
        'import sys, dp_fedemb.evaluation.verification; assert "tensorflow" not in sys.modules'
    )
    subprocess.run([sys.executable, '-c', code], check=True)

"""Retrieval against tables worked out by hand, and against brute force."""

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from dp_fedemb import evaluation
from dp_fedemb.evaluation import retrieval


def on_circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_table_by_hand():
    """Six images on a circle; one of them is alone.

    image  degrees  identity  others, nearest first (relevant in capitals)
    a0       0       a        b3(10) A1(20) l(50) A2(90)
    a1      20       a        b3(10) A0(20) l(30) A2(70)
    a2      90       a        l(40) A1(70) b3(80) b5(90) A0(90), a tie
    b3      10       b        a0/a1(10) ...         B5(170)  last
    l4      50       l        lone
    b5     180       b        a2(90) l4(130) a1(160) B3(170) a0(180)
    """
    embeddings = on_circle(0, 20, 90, 10, 50, 180)
    identities = np.array(['a', 'a', 'a', 'b', 'l', 'b'])
    result = retrieval.retrieve(embeddings, identities, ks=(1, 2, 3, 4))
    assert (result.queries, result.lone_images) == (5, 1)
    # Ranks of the relevant: a0: 2, 4; a1: 2, 4; a2: 2, 5; b3: 5; b5: 4.
    assert result.recall_at == {1: 0, 2: 3 / 5, 3: 3 / 5, 4: 4 / 5}
    # Two first: one of two for each a. One first: none for b.
    assert result.r_precision == pytest.approx((1 / 2 * 3 + 0 + 0) / 5)
    # The precision at rank 2 is 1/2, and R = 2.
    assert result.map_at_r == pytest.approx((1 / 2 / 2 * 3 + 0 + 0) / 5)
    # a0, a1: (1/2 + 2/4) / 2; a2: (1/2 + 2/5) / 2; b: 1/5 and 1/4.
    assert result.map_at_100 == pytest.approx((1 / 2 * 2 + 0.45 + 1 / 5 + 1 / 4) / 5)
    assert list(result.identities) == ['a', 'b']
    np.testing.assert_allclose(result.by_identity['map@r'], [1 / 4, 0])
    np.testing.assert_allclose(result.by_identity['r_precision'], [1 / 2, 0])


def test_map_at_100_divides_by_at_most_100():
    """151 images of one identity and no other: 100 relevant among the first 100."""
    embeddings = on_circle(*np.linspace(0, 60, 151))
    result = retrieval.retrieve(embeddings, np.zeros(151))
    assert result.map_at_100 == pytest.approx(1)
    assert result.map_at_r == pytest.approx(1) and result.r_precision == 1


def test_ranks_beyond_100_count_in_map_at_r_but_not_in_map_at_100():
    """120 other images lie between the query's pair: the relevant one is at rank 121."""
    embeddings = on_circle(0, *np.linspace(1, 2, 120), 3)
    identities = [0, *range(1, 121), 0]
    result = retrieval.retrieve(embeddings, identities, ks=(1, 120, 121))
    assert result.map_at_100 == 0 and result.map_at_r == 0
    assert result.recall_at == {1: 0, 120: 0, 121: 1}


def test_many_images_of_one_identity_reach_beyond_100():
    """R = 149 for each query: the depth follows R."""
    embeddings = on_circle(*np.linspace(0, 30, 150), *np.linspace(90, 120, 20))
    identities = np.repeat([0, 1], [150, 20])
    result = retrieval.retrieve(embeddings, identities)
    assert result.r_precision == pytest.approx(1) and result.map_at_r == pytest.approx(1)


def test_collapsed_model_gains_nothing_by_ties():
    embeddings = np.tile(on_circle(30), (20, 1))
    result = retrieval.retrieve(embeddings, np.arange(20) // 2)
    # 18 images that are not relevant come before the one that is.
    assert result.recall_at == {1: 0, 5: 0, 10: 0} and result.map_at_r == 0
    assert result.map_at_100 == pytest.approx(1 / 19)


def brute_force(embeddings, identities, depth=100):
    values = {'recall@1': [], 'recall@3': [], 'r_precision': [], 'map@r': [], 'map@100': []}
    for query, identity in enumerate(identities):
        others = [i for i in range(len(identities)) if i != query]
        total = sum(identities[i] == identity for i in others)
        if not total:
            continue
        score = {i: float(embeddings[query] @ embeddings[i]) for i in others}
        ranked = sorted(others, key=lambda i: (-score[i], identities[i] == identity))
        hits = [identities[i] == identity for i in ranked]
        at = [sum(hits[: r + 1]) / (r + 1) * hits[r] for r in range(len(hits))]
        values['recall@1'].append(hits[0])
        values['recall@3'].append(any(hits[:3]))
        values['r_precision'].append(sum(hits[:total]) / total)
        values['map@r'].append(sum(at[:total]) / total)
        values['map@100'].append(sum(at[:depth]) / min(depth, total))
    return {name: np.mean(v) if v else np.nan for name, v in values.items()}


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


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4)), min_size=2, max_size=30)
)
def test_equals_brute_force_with_ties(images):
    rows, identities = map(np.array, zip(*images))
    result = retrieval.retrieve(GRID[rows], identities, ks=(1, 3))
    expected = brute_force(GRID[rows], identities)
    found = (
        result.recall_at[1],
        result.recall_at[3],
        result.r_precision,
        result.map_at_r,
        result.map_at_100,
    )
    np.testing.assert_allclose(found, list(expected.values()), atol=1e-9)


def test_blocks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    identities = rng.integers(0, 20, 150)
    embeddings = rng.standard_normal((20, 8))[identities] + rng.standard_normal((150, 8))
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype('f4')
    images = evaluation.EmbeddedImages(embeddings, identities)
    whole = retrieval.metrics(images)
    monkeypatch.setattr(retrieval, '_BLOCK_ENTRIES', 7 * 150)
    assert retrieval.metrics(images) == pytest.approx(whole)
    assert 0 < whole['map@r'] < whole['precision@1'] < whole['recall@5'] < 1


def test_no_query_and_no_such_depth():
    result = retrieval.retrieve(GRID[:3], np.arange(3))
    assert result.queries == 0 and result.lone_images == 3 and np.isnan(result.map_at_r)
    with pytest.raises(ValueError, match='k=0: expected a number above 0'):
        retrieval.retrieve(GRID[:3], np.arange(3), ks=(0,))


def test_nearest():
    rows, scores = retrieval.nearest(on_circle(0, 20, 90, 11), np.array([0, 2]), 2)
    assert rows.tolist() == [[3, 1], [1, 3]]
    np.testing.assert_allclose(scores[0], np.cos(np.radians([11, 20])), atol=1e-6)

"""Groups against SciPy's average linkage of all pairs, and how they are written."""

import csv
import os

import numpy as np
import pytest
from scipy.cluster import hierarchy
from scipy.spatial import distance

from dp_fedemb import gallery
from dp_fedemb.gallery import clustering


@pytest.fixture(scope='module')
def vectors():
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(60, 8)).repeat(5, axis=0)
    noisy = centres + 0.6 * generator.normal(size=centres.shape)
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    return generator.permutation(noisy).astype(np.float32)


def partition(labels):
    return {frozenset(np.nonzero(labels == label)[0]) for label in np.unique(labels)}


@pytest.mark.parametrize('threshold', [0.95, 0.8, 0.6, 0.3, 0.0, -0.5])
def test_groups_are_those_of_average_linkage(vectors, threshold, monkeypatch):
    """By connected components, in small blocks, and still the same."""
    tree = hierarchy.linkage(distance.pdist(vectors.astype(np.float64), 'cosine'), 'average')
    expected = hierarchy.fcluster(tree, 1 - threshold, 'distance')
    assert partition(clustering.group_labels(vectors, threshold)) == partition(expected)
    monkeypatch.setattr(clustering, '_BLOCK_ENTRIES', 300 * 17)
    assert partition(clustering.group_labels(vectors, threshold)) == partition(expected)


def test_extremes(vectors):
    assert len(np.unique(clustering.group_labels(vectors, -1.0))) == 1
    assert len(np.unique(clustering.group_labels(vectors, 1.0))) == len(vectors)
    twice = np.concatenate([vectors[:3], vectors[:3], np.zeros((2, 8), np.float32)])
    found = partition(clustering.group_labels(twice, 0.9999))
    assert found == {frozenset(rows) for rows in ([0, 3], [1, 4], [2, 5], [6], [7])}
    np.testing.assert_array_equal(clustering.group_labels(vectors[:1], 0.5), [0])


def test_what_does_not_fit_is_refused(vectors, monkeypatch):
    with pytest.raises(ValueError, match='threshold=2: expected a similarity'):
        clustering.group_labels(vectors, 2)
    monkeypatch.setattr(clustering, '_MOST_IN_COMPONENT', 100)
    with pytest.raises(ValueError, match='300 pictures hang together .* choose a higher one'):
        clustering.group_labels(vectors, -0.5)


@pytest.fixture
def groups(model, folder, preprocessing):
    (folder / '00/0.png').rename(folder / '00' / os.fsdecode(b'\xe9, "quoted".png'))
    index = gallery.index(model, folder, None, preprocessing).index
    return gallery.cluster(index, 0.8), index


def test_every_picture_is_in_one_group(groups):
    found, index = groups
    paths = [path for group in found for path in group.paths]
    assert sorted(paths) == sorted(index.paths)
    sizes = [len(group.paths) for group in found]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 1 and sizes[-1] == 1
    for group in found:
        assert list(group.typical) == sorted(group.typical, reverse=True)


def test_copies_of_a_picture_are_one_group():
    vectors = np.random.default_rng(0).normal(size=(40, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # Rounded, the similarity of some with themselves is above 1.
    assert (np.square(vectors.astype(np.float64)).sum(axis=1) > 1).any()
    labels = clustering.group_labels(np.repeat(vectors, 3, axis=0), 0.99)
    assert np.array_equal(labels.reshape(40, 3), labels[::3, None].repeat(3, axis=1))


def test_table(groups):
    found, index = groups
    rows = list(csv.DictReader(clustering.csv_text(found).splitlines()))
    assert {row['path'] for row in rows} == set(index.paths)
    for number, group in enumerate(found, start=1):
        assert [r['path'] for r in rows if r['group'] == str(number)] == list(group.paths)


def test_links_lead_to_the_pictures(groups, folder, tmp_path):
    found, index = groups
    clustering.write_links(tmp_path / 'groups', found, index.folder)
    links = [path for path in (tmp_path / 'groups').rglob('*') if path.is_symlink()]
    assert {os.readlink(path) for path in links} == {
        os.path.join(index.folder, path) for path in index.paths
    }
    assert all(path.is_file() for path in links) and len(links) == 60
    alone = {path for group in found if len(group.paths) == 1 for path in group.paths}
    inside = tmp_path / 'groups' / clustering.ALONE
    assert {str(path.relative_to(inside)) for path in links if inside in path.parents} == alone
    with pytest.raises(FileExistsError, match='exists already'):
        clustering.write_links(tmp_path / 'groups', found, index.folder)

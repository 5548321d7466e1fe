"""Recall per identity, user and group, against a double loop over all pairs."""

import json
import types

import numpy as np
import pytest

from dp_fedemb import evaluation
from dp_fedemb import json_files
from dp_fedemb.evaluation import breakdown
from dp_fedemb.evaluation import breakdown_tables
from dp_fedemb.evaluation import clustering
from dp_fedemb.evaluation import grouping


@pytest.fixture(scope='module')
def images():
    """700 images in no order; an identity of an odd number is noisier; one image is alone."""
    rng = np.random.default_rng(0)
    identities = rng.permutation(np.append(np.arange(699) // 7, [1000]))
    noise = np.where(identities % 2, 1.6, 0.6)[:, None]
    centres = np.random.default_rng(1).normal(size=(1001, 12))[identities]
    vectors = centres + noise * rng.normal(size=centres.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return evaluation.EmbeddedImages(vectors.astype(np.float32), identities, (0.01, 1e-9))


@pytest.fixture(scope='module')
def found(images):
    return breakdown.of_images(images, 0.01)


@pytest.fixture(scope='module')
def by_hand(images):
    """Accepted genuine and impostor pairs of each image, from the whole matrix."""
    scores = images.embeddings.astype(np.float64) @ images.embeddings.T.astype(np.float64)
    np.fill_diagonal(scores, -2)
    accepted = scores >= images.point(0.01).threshold - 1e-7
    same = images.identities[:, None] == images.identities[None, :]
    return (accepted & same).sum(axis=1), (accepted & ~same).sum(axis=1)


def test_every_image_has_its_own_pairs(images, found, by_hand):
    np.testing.assert_array_equal(found.accepted, by_hand[0])
    # A pair within rounding of the threshold may fall on either side of it.
    assert np.abs(found.false_accepts - by_hand[1]).sum() <= 4
    point = images.point(0.01)
    assert found.accepted.sum() == 2 * point.accepted_genuine
    assert found.false_accepts.sum() == 2 * point.accepted_impostors


def test_parts_add_up(images, found, by_hand):
    parts = found.by(images.identities)
    for name in (0, 7, 1000):
        place = int(np.nonzero(parts.names == name)[0][0])
        mask = images.identities == name
        assert (
            parts.images[place] == mask.sum()
            and parts.accepted[place] == by_hand[0][mask].sum()
        )
    assert np.isnan(parts.recall[-1])
    summary = parts.summary()
    known = np.sort(parts.recall[:-1])
    assert (summary['count'], summary['worst_count']) == (100, 5)
    assert summary['worst_mean'] == pytest.approx(known[:5].mean())
    assert summary['at_zero'] == (known == 0).sum()


def test_gap_between_groups_is_found_and_has_an_interval(images, found):
    groups = np.where(images.identities % 2, 'odd', 'even')
    values = breakdown.summarise(found, images.identities, groups)
    gap = values['gap']
    assert (gap['best'], gap['worst']) == ('even', 'odd')
    recalls = {name: row['recall'] for name, row in values['groups'].items()}
    assert gap['difference'] == pytest.approx(recalls['even'] - recalls['odd'])
    assert 0.1 < gap['low'] < gap['difference'] < gap['high']
    # Groups that nothing tells apart: the interval reaches 0.
    drawn = images.identities // 2 % 2
    assert breakdown.summarise(found, images.identities, drawn)['gap']['low'] < 0
    assert breakdown.summarise(found, images.identities, np.zeros(700))['gap'] is None
    tables = list(breakdown_tables.tables({'far': 0.01, **values}))
    assert [table.name for table in tables] == ['spread', 'users_by_images', 'groups']
    assert 'greatest gap: even over odd' in tables[-1].text()
    json.dumps(json_files.finite(values), allow_nan=False)
    # Groups may be called as folders are, and tell a terminal nothing.
    named = np.where(images.identities % 2, 'o\x1b[2Jdd', 'even')
    values = breakdown.summarise(found, images.identities, named)
    text = list(breakdown_tables.tables({'far': 0.01, **values}))[-1].text()
    assert all(line.isprintable() for line in text.splitlines()) and r'o\x1b[2Jdd' in text


def test_users_of_few_images_are_a_row_of_their_own(images, found):
    """User 0 has one image, 1 has two, 2 and 3 have four each, user 4 the rest."""
    users = np.repeat(np.arange(5), [1, 2, 4, 4, 689])
    rows = breakdown.summarise(found, users)['by_number_of_images']
    assert [(row['from'], row['to'], row['users'], row['images']) for row in rows] == [
        (1, 1, 1, 1),
        (2, 2, 1, 2),
        (4, 4, 2, 8),
        (689, 689, 1, 689),
    ]
    expected = found.accepted[3:11].sum() / found.pairs[3:11].sum()
    assert rows[2]['recall'] == pytest.approx(expected)


def test_far_that_is_not_resolvable(images):
    with pytest.raises(ValueError, match='1e-09: not resolvable'):
        breakdown.of_images(images, 1e-9)


def store(identity_names, example_names=None):
    return types.SimpleNamespace(
        user_names=['Zoë', 'Max'],
        users=np.array([0, 0, 1, 1]),
        identity_names=identity_names,
        identities=np.array([0, 1, 1, 0]),
        example_names=example_names,
        num_examples=4,
    )


def test_groups_from_folders(tmp_path):
    omniglot = store(['Greek/alpha', 'Latin/a'])
    assert list(grouping.groups(omniglot, 'parent')) == ['Greek', 'Latin', 'Latin', 'Greek']
    files = store(['a', 'b'], ['x/a/1.png', 'x/b/1.png', 'y/b/2.png', 'y/a/2.png'])
    assert list(grouping.groups(files, 'parent')) == ['x', 'x', 'y', 'y']
    for names in (None, ['a/1.png'] * 4):
        with pytest.raises(ValueError, match='no folder is around'):
            grouping.groups(store(['a', 'b'], names), 'parent')


def test_groups_from_a_list(tmp_path):
    path = tmp_path / 'groups.csv'
    # The decomposed spelling of a name, a byte order mark, a quoted comma, an image by name.
    path.write_text('\ufeff# who\nZoe\u0308,north\n3.png\t"far, south"\n', encoding='utf-8')
    given = store(['a', 'b'], ['1.png', '2.png', '3.png', '4.png'])
    found = list(grouping.groups(given, path))
    assert found == ['north', 'north', 'far, south', grouping.NOT_LISTED]
    for text, words in (
        ('Zoë', 'expected "name,group"'),
        (f'a,{200_000 * "b"}', 'expected "name,group"'),
        ('Zoë,a\nZoë,b', 'is in group .a. already'),
        ('nobody,a', 'names no user, identity or image'),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            grouping.groups(given, path)
    with pytest.raises(FileNotFoundError):
        grouping.groups(given, tmp_path / 'nowhere.csv')


def test_clusters_agree_with_clear_identities():
    rng = np.random.default_rng(0)
    labels = np.arange(5200) // 40
    centres = rng.normal(size=(130, 16))[labels]
    clear = centres + 0.05 * rng.normal(size=centres.shape)
    assert clustering.nmi(clear, labels) > 0.9
    assert clustering.nmi(rng.normal(size=centres.shape), labels) < 0.5
    assert clustering.nmi(np.ones((9, 4)), np.arange(9) // 3) == 0
    assert np.isnan(clustering.nmi(np.ones((3, 4)), np.zeros(3)))

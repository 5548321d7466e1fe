"""Omniglot through TFDS: from small archives of the official format, and the real ones."""

import os
import pathlib
import shutil

import numpy as np
import pytest

import tasks

REAL = pathlib.Path(
    os.environ.get(
        'DP_FEDEMB_OMNIGLOT',
        pathlib.Path(__file__).parents[2] / '..' / 'shared' / 'data' / 'omniglot',
    )
)
needs_real = pytest.mark.skipif(
    not (REAL / 'images_background.zip').exists(),
    reason=f'no Omniglot archives in {REAL}; name their directory in DP_FEDEMB_OMNIGLOT',
)


@pytest.fixture(scope='module')
def archives(built):
    return pathlib.Path(built('omniglot')[1].data_dir)


@pytest.fixture(scope='module')
def cache_dir(built):
    return pathlib.Path(built('omniglot')[1].cache_dir)


def build(data_dir, cache_dir, **options):
    options = {'partial': 'true', **options}
    config = tasks.TaskConfig(data_dir=str(data_dir), cache_dir=str(cache_dir), options=options)
    return tasks.build_task('omniglot', config)


def test_characters(archives, cache_dir):
    task = build(archives, cache_dir)
    assert (task.train.num_users, task.test.num_users) == (964, 659)
    assert task.train.user_names == sorted(task.train.user_names)
    # A user is a character: the user's images all have that identity.
    names = np.array(task.train.identity_names)[task.train.identities]
    assert list(names) == list(np.array(task.train.user_names)[task.train.users])
    facts = {fact.what: fact for fact in task.expected_facts}
    assert facts['characters'].agrees and facts['images'].found == 2 * 1623
    # Ink is bright on dark: 15 x 15 of 105 x 105 pixels are black in the archive.
    assert np.mean(task.train.examples) == pytest.approx(255 * 15**2 / 105**2, rel=0.02)


def test_drawers(archives, cache_dir):
    task = build(archives, cache_dir, user='drawer')
    assert (task.train.num_users, task.test.num_users) == (2 * 30, 2 * 20)
    assert (task.train.num_identities, task.test.num_identities) == (964, 659)
    assert task.train.user_names[:2] == ['backg00/drawer01', 'backg00/drawer02']
    # Each drawer drew each character of the alphabet once, with the own hand.
    assert list(np.diff(task.train.user_splits)[:2]) == [33, 33]
    assert len(np.unique(task.train.identities[:33])) == 33
    characters = build(archives, cache_dir).train
    of_character = {image.tobytes() for image in characters.examples[:2]}
    mine = {image.tobytes() for image in task.train.examples[:66]}
    assert of_character <= mine


def test_whole_alphabets_for_validation_and_pretraining(archives, cache_dir):
    task = build(
        archives, cache_dir, user='drawer', validation_alphabets='2', public_alphabets='3'
    )
    alphabets = {
        part: {name.split('/')[0] for name in store.user_names}
        for part, store in task.stores.items()
    }
    assert {part: len(names) for part, names in alphabets.items()} == {
        'train': 23,
        'validation': 2,
        'public': 5,
        'test': 20,
    }
    assert len(set().union(*alphabets.values())) == 50


def test_a_prepared_tfds_directory_gives_the_same(archives, cache_dir, tmp_path):
    first = build(archives, cache_dir)
    (prepared,) = (cache_dir / 'tfds').iterdir()
    again = build(prepared, tmp_path)
    assert again.train.examples_path.read_bytes() == first.train.examples_path.read_bytes()
    with pytest.raises(ValueError, match='has no drawers.*archives=DIR'):
        build(prepared, tmp_path, user='drawer')
    drawers = build(prepared, tmp_path, user='drawer', archives=str(archives))
    assert drawers.train.num_users == 60


def test_counts_are_compared_with_the_published(archives, cache_dir):
    with pytest.raises(ValueError, match=r'3,246 images \(published: 32,460\).*partial=true'):
        build(archives, cache_dir, partial='false')


def test_missing_archives_are_all_named(tmp_path):
    (tmp_path / 'images_background.zip').write_bytes(b'')
    with pytest.raises(FileNotFoundError) as error:
        build(tmp_path, tmp_path / 'cache')
    message = str(error.value)
    assert 'images_evaluation.zip' in message and 'images_background_small2.zip' in message
    assert 'github.com/brendenlake/omniglot' in message and '\n' not in message
    assert not (tmp_path / 'cache').exists()


@pytest.mark.parametrize('spoil', ['cut', 'flip', 'no zip'])
def test_damaged_archive_leaves_nothing(archives, tmp_path, spoil):
    for path in archives.iterdir():
        shutil.copy(path, tmp_path)
    path = tmp_path / 'images_background_small2.zip'
    content = bytearray(path.read_bytes())
    if spoil == 'cut':
        content = content[: len(content) // 2]
    elif spoil == 'flip':
        content[100] ^= 255
    else:
        content = b'<html>not found</html>'
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        build(tmp_path, tmp_path / 'cache')
    message = str(error.value)
    assert f'{path}: damaged' in message and 'fetch it again' in message
    assert '\n' not in message
    assert not [
        p
        for p in (tmp_path / 'cache').rglob('*')
        if p.name != 'fingerprints.json' and p.is_file()
    ]


@needs_real
def test_real_archives(tmp_path):
    task = build(REAL, tmp_path, user='drawer', partial='false')
    assert (task.train.num_users, task.test.num_users) == (600, 400)
    assert (task.train.num_identities, task.test.num_identities) == (964, 659)
    assert (task.train.num_examples, task.test.num_examples) == (19_280, 13_180)
    if not (REAL / 'omniglot_28.npz').exists():
        return
    reference = np.load(REAL / 'omniglot_28.npz')
    evaluation = reference['is_evaluation'].astype(bool)
    for store, rows in ((task.train, ~evaluation), (task.test, evaluation)):
        expected = sorted(image.tobytes() for image in reference['images'][rows])
        assert sorted(image.tobytes() for image in store.examples) == expected

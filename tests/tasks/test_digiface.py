"""DigiFace-1M from small archives of the official format, and through TFDS."""

import numpy as np
import pytest

import tasks
from tasks.shared import digiface_files


def build(data_dir, cache_dir, **options):
    options = {'partial': 'true', 'test_users': '0.4', **options}
    config = tasks.TaskConfig(data_dir=str(data_dir), cache_dir=str(cache_dir), options=options)
    return tasks.build_task('digiface', config)


@pytest.fixture(scope='module')
def data_dir(official, tmp_path_factory):
    directory = tmp_path_factory.mktemp('digiface')
    official.digiface(directory)
    return directory


@pytest.fixture(scope='module')
def task(data_dir):
    return build(data_dir, data_dir / 'cache')


def test_published_counts_follow_from_the_names():
    assert digiface_files.ARCHIVES['72'][-1] == 'subjects_8000-9999_72_imgs.zip'
    assert digiface_files.ARCHIVES['5'][-1] == 'subjects_166666-199998_5_imgs.zip'
    for subset, names in digiface_files.ARCHIVES.items():
        spans = [name.split('_')[1].split('-') for name in names]
        subjects = sum(int(last) - int(first) + 1 for first, last in spans)
        assert digiface_files.PUBLISHED[subset] == (subjects, subjects * int(subset))


def test_subjects_are_users_and_pixels_are_those_of_the_archive(task, official):
    sizes = {part: store.num_users for part, store in task.stores.items()}
    assert sizes == {'train': 6, 'validation': 1, 'test': 3}
    for store in task.stores.values():
        assert store.example_spec.shape == (112, 112, 3)
        names = np.array(store.identity_names)[store.identities]
        assert list(names) == list(np.array(store.user_names)[store.users])
        for row, name in enumerate(store.example_names):
            subject, number = map(int, name.split('/'))
            assert name.startswith(store.user_names[store.users[row]] + '/')
            expected = official.picture([subject, number], 112, 112)
            np.testing.assert_array_equal(store.examples[row], expected)


def test_public_subjects(data_dir, tmp_path):
    task = build(data_dir, tmp_path, public_users='0.3', validation_users='0')
    assert {part: store.num_users for part, store in task.stores.items()} == {
        'train': 5,
        'public': 2,
        'test': 3,
    }


def test_through_tfds(data_dir, task, tmp_path):
    import tensorflow_datasets as tfds

    from tasks.shared import digiface_tfds

    builder = digiface_tfds.Digiface1m(config='subjects72', data_dir=str(tmp_path))
    with pytest.raises(AssertionError, match='Manual directory'):
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=tmp_path / 'none')
        )
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=data_dir)
    )
    assert builder.info.splits['train'].num_examples == 30
    again = build(tmp_path, tmp_path / 'cache')
    for part, store in task.stores.items():
        assert again.stores[part].example_names == store.example_names
        np.testing.assert_array_equal(again.stores[part].examples, store.examples)


def test_some_of_the_archives(official, tmp_path):
    official.digiface(tmp_path)
    (tmp_path / digiface_files.ARCHIVES['72'][3]).unlink()
    with pytest.raises(FileNotFoundError) as error:
        build(tmp_path, tmp_path / 'cache', partial='false')
    assert 'subjects_6000-7999_72_imgs.zip: missing' in str(error.value)
    task = build(tmp_path, tmp_path / 'cache', validation_users='0')
    assert task.train.num_users + task.test.num_users == 8
    with pytest.raises(FileNotFoundError, match='subjects_100000-133332_5_imgs.zip'):
        build(tmp_path, tmp_path / 'cache', subset='5')


def test_damaged_member_is_a_broken_image(official, tmp_path):
    official.digiface(tmp_path)
    path = tmp_path / digiface_files.ARCHIVES['72'][0]
    content = bytearray(path.read_bytes())
    content[2000] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match='1 broken image.*0/0: Bad CRC-32'):
        build(tmp_path, tmp_path / 'cache')
    task = build(tmp_path, tmp_path / 'cache', max_broken='1')
    assert sum(store.num_examples for store in task.stores.values()) == 29
    assert any('1 broken images skipped, the first: 0/0' in note for note in task.notes)
    path.write_bytes(content[:3000])
    with pytest.raises(ValueError, match='subjects_0-1999_72_imgs.zip: damaged'):
        build(tmp_path, tmp_path / 'cache')

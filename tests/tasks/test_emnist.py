"""EMNIST from small databases of TFF's format."""

import os
import socket

import numpy as np
import pytest

import tasks
from tasks import emnist


def build(data_dir, cache_dir, **options):
    options = {'partial': 'true', 'test_users': '0.25', **options}
    config = tasks.TaskConfig(data_dir=str(data_dir), cache_dir=str(cache_dir), options=options)
    return tasks.build_task('emnist', config)


@pytest.fixture(scope='module')
def data_dir(official, tmp_path_factory):
    directory = tmp_path_factory.mktemp('emnist')
    official.emnist(directory, writers=8, compressed=True)
    return directory


def no_network(*unused, **also_unused):
    raise AssertionError('tried to reach the network')


@pytest.fixture(scope='module')
def task(data_dir, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, 'connect', no_network)
        return build(data_dir, tmp_path_factory.mktemp('cache'))


def test_halves_of_a_writer_are_one_user(task):
    assert (task.train.num_users, task.test.num_users) == (6, 2)
    # Of 62 + 16 images: 36 + 9 of digits and capitals, 26 + 7 of small letters.
    assert set(np.diff(task.train.user_splits)) == {36 + 9}
    assert set(np.diff(task.test.user_splits)) == {26 + 7}
    facts = {fact.what: fact.found for fact in task.expected_facts}
    assert facts == {'writers': 8, 'classes': 62, 'images': 8 * (62 + 16)}
    # 26 + 7 of each training writer and 36 + 9 of each tested one.
    assert any('288 of 624 images' in note for note in task.notes)


def test_what_tff_reads_is_what_is_stored(official, task, tmp_path):
    import tensorflow_federated as tff

    official.emnist(tmp_path, writers=8)
    halves = tff.simulation.datasets.emnist.load_data(
        only_digits=False, cache_dir=str(tmp_path)
    )
    for store, classes in ((task.train, range(36)), (task.test, range(36, 62))):
        for user in (0, store.num_users - 1):
            writer = store.user_names[user]
            expected = sorted(
                (
                    emnist.CLASSES[example['label']],
                    (255 - np.rint(example['pixels'] * 255).astype(np.uint8)).tobytes(),
                )
                for half in halves
                for example in half.create_tf_dataset_for_client(writer).as_numpy_iterator()
                if example['label'] in classes
            )
            rows = range(store.user_splits[user], store.user_splits[user + 1])
            got = [
                (store.identity_names[store.identities[r]], store.examples[r].tobytes())
                for r in rows
            ]
            assert sorted(got) == expected


def test_classes_are_characters_and_split_as_published(task):
    assert sorted(task.train.identity_names) == sorted(emnist.CLASSES[:36])
    assert sorted(task.test.identity_names) == sorted(emnist.CLASSES[36:])
    for store in (task.train, task.test):
        # The maker wrote class and writer into the first two pixels.
        labels = 255 - store.examples[:, 0, 0, 0]
        names = np.array(store.identity_names)[store.identities]
        assert [emnist.CLASSES[label] for label in labels] == list(names)
        writers = 255 - store.examples[:, 0, 1, 0]
        users = np.array(store.user_names)[store.users]
        assert [f'f{writer:04d}_{writer:02d}' for writer in writers] == list(users)


def test_ink_is_bright(task):
    # Paper, 1.0 in the database, is 0; ink, 0.0 there, is 255.
    assert np.all(task.train.examples[:, 5:] == 0)
    assert set(np.unique(task.train.examples[:, 0, 2])) == {0, 255}


def test_validation_has_writers_and_classes_of_its_own(data_dir, tmp_path):
    task = build(data_dir, tmp_path, validation_users='0.25', validation_classes='6')
    assert [task.stores[part].num_users for part in ('train', 'validation', 'test')] == [
        3,
        3,
        2,
    ]
    assert [task.stores[part].num_identities for part in ('train', 'validation')] == [30, 6]


def test_unpacked_database_gives_the_same(official, task, tmp_path):
    official.emnist(tmp_path, writers=8)
    again = build(tmp_path, tmp_path / 'cache')
    assert again.train.examples_path.read_bytes() == task.train.examples_path.read_bytes()
    # Another database in the same place is converted anew.
    (tmp_path / 'emnist_all.sqlite').unlink()
    official.emnist(tmp_path, writers=9)
    assert build(tmp_path, tmp_path / 'cache').test.num_users == 3


@pytest.mark.parametrize('kind', ['cut', 'no lzma', 'no database', 'other tables'])
def test_damaged_database(kind, data_dir, tmp_path):
    content = (data_dir / 'emnist_all.sqlite.lzma').read_bytes()
    path = tmp_path / 'emnist_all.sqlite.lzma'
    if kind == 'cut':
        path.write_bytes(content[: len(content) // 2])
    elif kind == 'no lzma':
        path.write_bytes(b'<html>' * 1000)
    else:
        path = tmp_path / 'emnist_all.sqlite'
        path.write_bytes(b'<html>' * 1000 if kind == 'no database' else b'')
    with pytest.raises(ValueError) as error:
        build(tmp_path, tmp_path / 'cache')
    message = str(error.value)
    assert 'damaged' in message and 'tff-datasets-public/emnist_all' in message
    assert '\n' not in message
    left = [name for _, _, names in os.walk(tmp_path / 'cache') for name in names]
    assert left == ['fingerprints.json']

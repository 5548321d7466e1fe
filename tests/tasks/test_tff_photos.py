"""Landmarks and iNaturalist: from list and photos, and from what TFF makes of them."""

import csv
import logging
import pathlib
import shutil
import tarfile

import numpy as np
import pytest

import tasks


def build(name, data_dir, cache_dir, **options):
    options = {
        'partial': 'true',
        'test_users': '0.3',
        'test_identities': '0.4',
        'image_size': '16',
        **options,
    }
    config = tasks.TaskConfig(data_dir=str(data_dir), cache_dir=str(cache_dir), options=options)
    return tasks.build_task(name, config)


@pytest.fixture(scope='module', params=['landmarks', 'inaturalist'])
def collection(request, official, tmp_path_factory):
    """(name, directory with the official files, the task built from them)."""
    data_dir = tmp_path_factory.mktemp(request.param)
    getattr(official, request.param)(data_dir)
    return request.param, data_dir, build(request.param, data_dir, data_dir / 'cache')


def contents(task):
    """The images of each part, with user, class and name, in the order of names."""
    return {
        part: sorted(
            zip(
                store.example_names,
                np.array(store.user_names)[store.users],
                np.array(store.identity_names)[store.identities],
                (image.tobytes() for image in store.examples),
            )
        )
        for part, store in task.stores.items()
    }


def test_users_and_classes_are_those_of_the_list(collection, official):
    _, _, task = collection
    rows = {image: (user, label) for user, image, label in official.photo_rows()}
    found = [row for part in contents(task).values() for row in part]
    assert all(rows[image] == (user, label) for image, user, label, _ in found)
    facts = [fact.found for fact in task.expected_facts]
    assert facts == [20, 10, 60]
    # Every photo whose user and class are in the same part is there.
    part_of_user = {u: part for part, s in task.stores.items() for u in s.user_names}
    part_of_class = {i: part for part, s in task.stores.items() for i in s.identity_names}
    belong = [
        image
        for image, (user, label) in rows.items()
        if user in part_of_user and part_of_user[user] == part_of_class.get(label)
    ]
    assert sorted(row[0] for row in found) == sorted(belong)
    assert 0 < len(found) < 60 and f'{60 - len(found)} of 60 images' in task.notes[0]


def test_unpacked_photos_give_the_same(collection, tmp_path):
    name, data_dir, task = collection
    for path in data_dir.iterdir():
        if path.suffix in ('.tar', '.gz'):
            with tarfile.open(path) as archive:
                archive.extractall(tmp_path / 'images', filter='data')
        elif path.is_file():
            shutil.copy(path, tmp_path)
    assert contents(build(name, tmp_path, tmp_path / 'cache')) == contents(task)


def test_files_made_by_tff_give_the_same(collection, official, tmp_path, monkeypatch):
    from tensorflow_federated.python.simulation.datasets import gldv2
    from tensorflow_federated.python.simulation.datasets import inaturalist

    name, data_dir, task = collection
    images = tmp_path / 'images'
    images.mkdir()
    for path in data_dir.iterdir():
        if path.suffix in ('.tar', '.gz'):
            with tarfile.open(path) as archive:
                for member in archive:
                    target = images / pathlib.PurePath(member.name).name
                    target.write_bytes(archive.extractfile(member).read())
    monkeypatch.setattr(logging.getLogger(gldv2.LOGGER), 'disabled', True)
    if name == 'landmarks':
        mapping = tmp_path / 'list.csv'
        with open(mapping, 'w', newline='') as file:
            csv.writer(file).writerows(
                [('user_id', 'image_id', 'class'), *official.photo_rows()]
            )
        gldv2._create_train_data_files(
            str(tmp_path / 'made' / 'gld160k' / 'train'), str(images), str(mapping)
        )
    else:
        inaturalist._create_train_data_files(
            inaturalist._generate_image_map(str(images)),
            str(tmp_path / 'made'),
            inaturalist.INaturalistSplit.USER_120K,
            str(data_dir / 'iNaturalist_train.csv'),
        )
    made = build(name, tmp_path / 'made', tmp_path / 'cache')
    without_names = lambda parts: {p: sorted(row[1:] for row in parts[p]) for p in parts}
    assert without_names(contents(made)) == without_names(contents(task))
    assert made.expected_facts == task.expected_facts
    # A file of something else is refused by its name.
    next((tmp_path / 'made').rglob('train')).joinpath('17').write_bytes(b'x' * 100)
    with pytest.raises(ValueError, match='train/17: damaged'):
        build(name, tmp_path / 'made', tmp_path / 'cache')


def test_photos_that_are_missing_stop_it_beyond_a_limit(official, tmp_path):
    official.landmarks(tmp_path)
    with tarfile.open(tmp_path / 'images_000.tar') as archive:
        names = [pathlib.PurePath(member.name).stem for member in archive]
    (tmp_path / 'images_000.tar').unlink()
    with pytest.raises(ValueError, match='1 broken image.*is in the list, but not among'):
        build('landmarks', tmp_path, tmp_path / 'cache')
    task = build('landmarks', tmp_path, tmp_path / 'cache', max_broken='30')
    (skipped,) = (note for note in task.notes if 'broken' in note)
    assert not set(names) & {name for part in contents(task).values() for name, *_ in part}
    assert skipped.split()[0] in {str(count) for count in range(1, 31)}


def test_damaged_archive_and_list(official, tmp_path):
    official.inaturalist(tmp_path)
    archive = tmp_path / 'train_val_images.tar.gz'
    archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(ValueError, match='train_val_images.tar.gz: damaged.*fetch it again'):
        build('inaturalist', tmp_path, tmp_path / 'cache')
    (tmp_path / 'iNaturalist_train.csv').write_text('image_id,class\n')
    with pytest.raises(ValueError, match='lacks the column.*user_120k'):
        build('inaturalist', tmp_path, tmp_path / 'cache')


def test_what_is_missing_is_said(official, tmp_path):
    official.landmarks(tmp_path)
    for path in tmp_path.glob('*.tar'):
        path.unlink()
    with pytest.raises(FileNotFoundError) as error:
        build('landmarks', tmp_path, tmp_path / 'cache')
    assert 'photos in images_*.tar' in str(error.value)
    assert 'the list' not in str(error.value).split(';')[0]


def test_smaller_landmark_set(official, tmp_path):
    official.landmarks(tmp_path)
    lines = ['user_id,image_id,class', *map(','.join, official.photo_rows(users=10))]
    (tmp_path / 'mini_gld_train_split.csv').write_text('\n'.join(lines) + '\n')
    task = build('landmarks', tmp_path, tmp_path / 'cache', subset='gld23k')
    assert [fact.published for fact in task.expected_facts] == [233, 203, 23_080]
    assert task.expected_facts[0].found == 10

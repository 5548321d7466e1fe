"""Folders of images: layouts, splits, sizes and modes, and what is refused."""

import os
import unicodedata

import numpy as np
from PIL import Image
import pytest

import tasks


def build(data_dir, cache_dir, **options):
    config = tasks.TaskConfig(
        data_dir=str(data_dir),
        cache_dir=str(cache_dir),
        options={'image_size': '16', 'test_users': '0.3', **options},
    )
    return tasks.build_task('image_folder', config)


@pytest.fixture(scope='module')
def data_dir(official, tmp_path_factory):
    directory = tmp_path_factory.mktemp('folder')
    official.image_folder(directory)
    return directory


@pytest.fixture
def people(tmp_path, official):
    """ROOT/identity/*: ten people with one to ten images."""
    for person in range(10):
        (tmp_path / 'people' / f'person{person}').mkdir(parents=True)
        for number in range(person + 1):
            path = tmp_path / 'people' / f'person{person}' / f'{number:02d}.png'
            path.write_bytes(official.encode(official.picture([person, number], 20, 20)))
    return tmp_path / 'people'


def names_by_user(store):
    names = np.array(store.identity_names, object)[store.identities]
    return {name: set(names[store.users == u]) for u, name in enumerate(store.user_names)}


def test_own_identities_stay_with_their_user(data_dir, tmp_path):
    task = build(data_dir, tmp_path, identities='own')
    assert sum(store.num_examples for store in task.stores.values()) == 72
    for store in task.stores.values():
        for user, names in names_by_user(store).items():
            number = int(user.removeprefix('user'))
            folders = (f'own{number}', f'also own{number}', f'shared{number % 3}')
            assert names == {f'{user}/{folder}' for folder in folders}


def test_shared_identities_are_divided_by_their_own_names(data_dir, tmp_path):
    task = build(data_dir, tmp_path, test_identities='0.8')
    train, test = names_by_user(task.train), names_by_user(task.test)
    assert not set().union(*train.values()) & set().union(*test.values())
    # Where all is left out, a training user keeps the place.
    assert len(task.train.user_names) == 10 and task.train.present.sum() == 1
    left_out = 72 - sum(store.num_examples for store in task.stores.values())
    assert f'{left_out} of 72 images' in task.notes[0]


def test_an_empty_folder_keeps_its_place(people, tmp_path):
    before = build(people, tmp_path / 'before').train
    for path in (people / 'person9').iterdir():
        path.unlink()
    after = build(people, tmp_path / 'after').train
    assert after.user_names == before.user_names
    absent = [name for name, there in zip(after.user_names, after.present) if not there]
    assert absent == ['person9'] and before.present.all()


def test_folder_of_people(people, tmp_path):
    task = build(people, tmp_path / 'cache', test_users='0.2', validation_users='0.1')
    assert [task.stores[p].num_users for p in ('train', 'validation', 'test')] == [8, 1, 1]
    assert sum(store.num_examples for store in task.stores.values()) == 55
    assert task.train.user_names == [
        task.train.identity_names[task.train.identities[start]]
        for start in task.train.user_splits[:-1]
    ]
    assert not task.notes and 'user = identity' in task.description
    elsewhere = build(people, tmp_path / 'other', test_users='0.2', validation_users='0.1')
    assert elsewhere.test.user_names == task.test.user_names


def test_split_file(people, tmp_path):
    lines = [
        '# tested people',
        'test person1',
        'train person2',
        'train person9',
        '',
        'public person3',
    ]
    (tmp_path / 'split.txt').write_text('\n'.join(lines))
    task = build(people, tmp_path / 'cache', split_file=str(tmp_path / 'split.txt'))
    assert {part: store.user_names for part, store in task.stores.items()} == {
        'train': ['person2', 'person9'],
        'test': ['person1'],
        'public': ['person3'],
    }
    assert any('6 users are not in' in note for note in task.notes)
    for line, words in [
        ('test person99', r'split.txt:7'),
        ('tset person1', 'one of train'),
        ('train person1', 'is in test already'),
    ]:
        (tmp_path / 'split.txt').write_text('\n'.join([*lines, line]))
        with pytest.raises(ValueError, match=words):
            build(people, tmp_path / 'cache', split_file=str(tmp_path / 'split.txt'))


def test_a_list_names_folders_with_blanks_exactly(people, tmp_path):
    (people / 'person1').rename(people / 'person1 ')
    listed = tmp_path / 'split.txt'
    listed.write_bytes('test\tperson1 \r\ntrain  person2  \r\n'.encode('utf-16'))
    task = build(people, tmp_path / 'cache', split_file=str(listed))
    assert task.test.user_names == ['person1 '] and task.train.user_names == ['person2']


def test_an_added_image_is_converted(people, official, tmp_path):
    first = build(people, tmp_path / 'cache')
    assert build(people, tmp_path / 'cache').train.path == first.train.path
    (people / 'person0' / 'new.png').write_bytes(official.encode(official.picture(1, 9, 9)))
    again = build(people, tmp_path / 'cache')
    assert again.train.path != first.train.path
    assert again.train.num_examples + again.test.num_examples == 56


def test_broken_images_are_listed_up_to_the_limit(people, tmp_path):
    (people / 'person4' / '00.png').write_bytes(b'')
    path = people / 'person5' / '00.png'
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError) as error:
        build(people, tmp_path / 'cache', max_broken='1')
    message = str(error.value)
    assert '2 broken image' in message and 'person5/00.png' in message and '\n' not in message
    assert not [p for p in (tmp_path / 'cache').rglob('*') if p.is_file()]
    task = build(people, tmp_path / 'cache', max_broken='2')
    assert task.train.num_examples + task.test.num_examples == 53
    listed = (task.train.path.parent / 'broken_images.txt').read_text().splitlines()
    assert [line.split(':')[0] for line in listed] == ['person4/00.png', 'person5/00.png']
    assert any('2 broken images skipped' in note for note in task.notes)


def test_mixed_layouts_are_refused(people, official, tmp_path):
    (people / 'zoe' / 'holidays').mkdir(parents=True)
    (people / 'zoe' / 'holidays' / '1.png').write_bytes(
        official.encode(official.picture(1, 9, 9))
    )
    with pytest.raises(ValueError, match='holidays/1.png: 2 folder.* deep.*one layout'):
        build(people, tmp_path / 'cache')
    Image.new('L', (9, 9)).save(people / 'loose.png')
    with pytest.raises(ValueError, match='loose.png: expected images at identity or user'):
        build(people, tmp_path / 'cache')


def test_one_user_is_too_few(tmp_path, official):
    (tmp_path / 'only' / 'me').mkdir(parents=True)
    (tmp_path / 'only' / 'me' / '1.png').write_bytes(official.encode(official.picture(1, 9, 9)))
    with pytest.raises(ValueError, match='no image is left for test'):
        build(tmp_path / 'only', tmp_path / 'cache')


def test_names_that_are_no_text(tmp_path, official):
    for number in range(8):
        folder = os.fsencode(tmp_path / 'odd') + b'/p\xff%d' % number
        os.makedirs(folder)
        with open(folder + b'/1.png', 'wb') as file:
            file.write(official.encode(official.picture(number, 9, 9)))
    task = build(tmp_path / 'odd', tmp_path / 'cache', test_users='0.5')
    assert task.train.num_users + task.test.num_users == 8
    assert task.train.user_names[0].startswith('p\udcff')


def test_two_spellings_of_a_name_are_one_user(tmp_path, official):
    spellings = [unicodedata.normalize(form, 'Zoë') for form in ('NFC', 'NFD')]
    for number, user in enumerate([*spellings, 'ann', 'bo', 'cy']):
        (tmp_path / 'people' / user).mkdir(parents=True)
        path = tmp_path / 'people' / user / f'{number}.png'
        path.write_bytes(official.encode(official.picture(number, 9, 9)))
    lines = ['test ann', f'train\t{spellings[1]}', 'train bo']
    (tmp_path / 'split.txt').write_bytes('\r\n'.join(lines).encode('utf-16'))
    task = build(
        tmp_path / 'people', tmp_path / 'cache', split_file=str(tmp_path / 'split.txt')
    )
    assert task.train.user_names == ['Zoë', 'bo'] and list(task.train.user_splits) == [0, 2, 3]
    assert any('1 users are not in' in note and '(cy)' in note for note in task.notes)
    assert any('1 names are spelt in several ways' in note for note in task.notes)


def test_a_user_of_whom_nothing_is_left_is_named(people, tmp_path):
    (people / 'person3' / '00.png').unlink()
    for path in (people / 'person3').iterdir():
        path.rename(path.with_suffix('.txt'))
    (people / 'person7').mkdir(exist_ok=True)
    task = build(people, tmp_path / 'cache')
    assert any('1 folders hold no picture: person3;' in note for note in task.notes)
    assert any('3 left out: not named as a picture' in note for note in task.notes)


def test_a_folder_under_two_names_is_one_user_too_many(people, tmp_path):
    (people / 'somebody').symlink_to(people / 'person4')
    with pytest.raises(ValueError, match="somebody: is a link to 'person4'.*remove the link"):
        build(people, tmp_path / 'cache')

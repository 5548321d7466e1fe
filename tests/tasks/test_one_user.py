"""A raw user who is not there changes that one user of the training store, in every task."""

import numpy as np
import pytest

import tasks

# A training user of the tiny official files: as their maker knows the user, by name in
# the store, and options that put several users into every part.
CASES = {
    'digiface': (2_001, '2001', {}),
    'emnist': (2, 'f0002_02', {'validation_users': '0.2'}),
    'image_folder': (1, 'user1', {'validation_users': '0.2'}),
    'inaturalist': (11, '11', {}),
    'landmarks': (11, '11', {}),
    'lfw': ('Ed_Eve', 'Ed_Eve', {}),
    'omniglot': (
        ('backg03', 1),
        'backg03/drawer01',
        {'user': 'drawer', 'validation_alphabets': '3'},
    ),
    'tfds': (3, 'painter 3', {}),
}


def contents(task):
    """Each training user's examples: their identity's name and their bytes, in order."""
    store = task.train
    users = {name: [] for name in store.user_names}
    for row, user in enumerate(store.users):
        identity = store.identity_names[store.identities[row]]
        users[store.user_names[user]].append((identity, store.examples[row].tobytes()))
    return users


@pytest.mark.parametrize('name', CASES)
def test_one_raw_user_is_one_user_of_the_training_store(name, official, tmp_path):
    raw_user, user, options = CASES[name]
    photos = {'shared': True} if name in ('inaturalist', 'landmarks') else {}
    found = []
    for without in (None, raw_user):
        directory = tmp_path / f'without {without}'
        directory.mkdir()
        made = getattr(official, name)(directory, without=without, **photos)
        config = tasks.TaskConfig(
            str(directory),
            str(tmp_path / 'cache'),
            max_examples_per_user=2,
            options={**made, **options},
        )
        found.append(contents(tasks.build_task(name, config)))
    whole, neighbour = found
    assert whole.pop(user)
    assert not neighbour.pop(user, [])
    assert whole == neighbour and sum(map(bool, whole.values())) >= 1


def test_all_converted_tasks_are_looked_at():
    assert set(CASES) == set(tasks.TASKS) - {'stores', 'synthetic'}


def test_drawn_users_do_not_depend_on_how_many_there_are(official, tmp_path):
    few, many = (
        contents(
            tasks.build_task(
                'synthetic',
                tasks.TaskConfig(
                    cache_dir=str(tmp_path),
                    options={**official.synthetic(tmp_path), 'num_users': str(users)},
                ),
            )
        )
        for users in (70, 71)
    )
    assert many.pop('train-70')
    assert few == many and np.all([len(rows) == 6 for rows in few.values()])

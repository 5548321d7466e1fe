"""Any TFDS data set by features, without code, and by functions."""

import numpy as np
import pytest

import tasks
from tasks import tfds as tfds_task
from tasks.shared import base


@pytest.fixture(scope='module')
def data_dir(official, tmp_path_factory):
    directory = tmp_path_factory.mktemp('tfds')
    official.tfds(directory)
    return directory


def config(data_dir, cache_dir, **options):
    options = {
        'dataset': 'paintings',
        'user': 'painter/name',
        'image_size': '16',
        'test_users': '0.3',
        **options,
    }
    return tasks.TaskConfig(data_dir=str(data_dir), cache_dir=str(cache_dir), options=options)


def test_user_is_the_identity_by_default(data_dir, tmp_path, official):
    task = tasks.build_task('tfds', config(data_dir, tmp_path))
    assert (task.train.num_users, task.test.num_users) == (6, 4)
    assert task.train.num_examples + task.test.num_examples == 40
    assert task.train.identity_names == task.train.user_names
    assert 'paintings/1.0.0' in task.description
    # Images of another size, cropped and shrunk: colours stay about the same.
    painter = int(task.train.user_names[0].split()[1])
    row = task.train.example_names.index(f'train {task.train.example_names[0].split()[1]}')
    means = [official.picture(n, 20 + painter, 24).mean() for n in range(painter, 40, 10)]
    assert np.min(np.abs(task.train.examples[row].mean() - np.array(means))) < 15


def test_nested_features_splits_and_class_labels(data_dir, tmp_path):
    task = tasks.build_task(
        'tfds',
        config(
            data_dir,
            tmp_path,
            user='painter/id',
            identity='style',
            split='train+test',
            test_users='0.4',
            test_identities='0.5',
        ),
    )
    names = set(task.train.identity_names) | set(task.test.identity_names)
    assert names <= {'cubism', 'fauvism', 'pop'} and len(task.test.identity_names) == 1
    assert [fact.found for fact in task.expected_facts] == [10, 3, 50]


def test_users_by_function(data_dir, tmp_path):
    builder = tfds_task.load_prepared('paintings', data_dir)
    options = tfds_task.Options(image_size=16, test_users=0.5, identities='own')
    task = tfds_task.build_by(
        base.TaskConfig(cache_dir=str(tmp_path)),
        'painters_by_five',
        builder,
        options,
        user=lambda example: f'group {int(example["painter"]["id"]) % 5}',
        identity='painter/id',
        description='groups of painters',
    )
    assert task.name == 'painters_by_five' and task.description == 'groups of painters'
    assert task.train.num_users + task.test.num_users == 5
    # Both painters of a group stay with it, for no other group has them.
    assert task.train.num_identities == 2 * task.train.num_users
    assert task.test.num_identities == 2 * task.test.num_users
    for user, name in enumerate(task.train.user_names):
        mine = task.train.identities[task.train.users == user]
        ids = {int(task.train.identity_names[i].split('/')[1]) % 5 for i in mine}
        assert ids == {int(name.split()[1])}


@pytest.mark.parametrize(
    'options, words',
    [
        ({'user': 'artist'}, "feature 'artist': the data set has image, painter, style"),
        ({'user': 'painter/age'}, "has id, name, not 'age'"),
        ({'image': 'picture'}, "feature 'picture'"),
        ({'split': 'validation'}, 'validation'),
        ({'dataset': ''}, 'option dataset: task tfds needs it'),
        ({'dataset': 'no_such_set'}, 'no_such_set is not prepared here'),
        ({'dataset': 'mnist'}, 'mnist is not prepared here'),
    ],
)
def test_what_the_data_set_lacks_is_said(data_dir, tmp_path, options, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        tasks.build_task('tfds', config(data_dir, tmp_path, **options))
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]

"""Stores that users wrote themselves are taken as they are, or refused."""

import numpy as np
import pytest

from dp_fedemb import data
import tasks


def write(path, names, shape=(4, 4, 3), identities=None):
    with data.UserStoreWriter(path, shape) as writer:
        for name in names:
            writer.add_user(np.zeros((2, *shape), np.uint8), identities or [name] * 2, name)


def build(data_dir, **options):
    config = tasks.TaskConfig(data_dir=str(data_dir), cache_dir='unused', options=options)
    return tasks.build_task('stores', config)


def test_all_parts_are_opened(tmp_path):
    for part, names in (('train', 'abc'), ('test', 'de'), ('public', 'f')):
        write(tmp_path / part, names)
    task = build(tmp_path, default_backbone='lenet')
    assert {part: store.user_names for part, store in task.stores.items()} == {
        'train': ['a', 'b', 'c'],
        'test': ['d', 'e'],
        'public': ['f'],
    }
    assert task.train.path == tmp_path / 'train' and task.default_backbone == 'lenet'


def test_stores_that_do_not_fit_each_other(tmp_path):
    write(tmp_path / 'train', 'abc')
    with pytest.raises(FileNotFoundError, match='test: no user store here'):
        build(tmp_path)
    write(tmp_path / 'test', 'de')
    write(tmp_path / 'public', 'f', shape=(4, 4, 1))
    with pytest.raises(ValueError, match='public: examples of 4x4x1'):
        build(tmp_path)
    write(tmp_path / 'other' / 'train', 'abc')
    write(tmp_path / 'other' / 'test', 'cd', identities=['x', 'y'])
    with pytest.raises(ValueError, match="user 'c' is in train and in test"):
        build(tmp_path / 'other')


def test_a_limit_belongs_to_the_writer(tmp_path):
    config = tasks.TaskConfig(data_dir=str(tmp_path), max_examples_per_user=3)
    with pytest.raises(ValueError, match='give the limit to UserStoreWriter'):
        tasks.build_task('stores', config)

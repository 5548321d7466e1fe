"""What holds of every task, read from tiny files in the official formats."""

import dataclasses

import numpy as np
import pytest

from dp_fedemb import models
import tasks

NEEDS_FILES = sorted(set(tasks.TASKS) - {'synthetic'})
CONVERTED = sorted(set(NEEDS_FILES) - {'stores'})
YOURS = {'image_folder', 'stores', 'tfds'}


def names_of(store):
    """(user, identity) of each image."""
    users = np.array(store.user_names, object)[store.users]
    return list(zip(users, np.array(store.identity_names, object)[store.identities]))


@pytest.mark.parametrize('name', tasks.TASKS)
def test_parts_share_neither_users_nor_identities(name, built):
    task, _ = built(name)
    assert task.name == name and {'train', 'test'} <= set(task.stores)
    parts = list(task.stores.values())
    for index, store in enumerate(parts):
        for other in parts[index + 1 :]:
            assert not set(store.user_names) & set(other.user_names)
            assert not set(store.identity_names) & set(other.identity_names)
    # Users are whole: each is one run of rows, in one store.
    for store in parts:
        assert len(set(store.user_names)) == store.num_users


@pytest.mark.parametrize('name', tasks.TASKS)
def test_task_says_what_it_found_and_what_to_train(name, built):
    task, _ = built(name)
    assert task.default_backbone in models.BACKBONES
    summary = task.summary()
    assert (
        summary.startswith(f'{name}: ') and f'train: {task.train.num_users:,} users' in summary
    )
    for fact in task.expected_facts:
        assert str(fact) in summary
    left_out = sum(fact.found for fact in task.expected_facts if fact.what == 'images') - sum(
        store.num_examples for store in task.stores.values()
    )
    if left_out > 0:
        assert any(f'{left_out:,} of' in note for note in task.notes)


@pytest.mark.parametrize('name', CONVERTED)
def test_second_time_nothing_is_converted(name, built, monkeypatch):
    task, config = built(name)
    from dp_fedemb.data.images import conversion

    monkeypatch.setattr(conversion, 'convert', None)
    again = tasks.build_task(name, config)
    assert again.train.path == task.train.path
    assert again.expected_facts == task.expected_facts and again.notes == task.notes


@pytest.mark.parametrize('name', CONVERTED)
def test_limit_keeps_a_sample_of_each_user(name, built):
    whole, config = built(name)
    cut = tasks.build_task(name, dataclasses.replace(config, max_examples_per_user=1))
    assert cut.train.user_names == whole.train.user_names
    assert np.array_equal(np.diff(cut.train.user_splits), whole.train.present)
    dropped = whole.train.num_examples - whole.train.present.sum()
    assert cut.train.meta['examples_dropped'] == dropped
    assert f'{dropped:,} of their images are left out' in cut.summary() or not dropped
    assert cut.test.num_examples == whole.test.num_examples
    assert set(names_of(cut.train)) <= set(names_of(whole.train))


@pytest.mark.parametrize('name', NEEDS_FILES)
def test_missing_files_are_named_and_nothing_is_left(name, official, built, tmp_path):
    _, config = built(name)
    empty, cache_dir = tmp_path / 'empty', tmp_path / 'cache'
    empty.mkdir()
    for data_dir in (None, str(tmp_path / 'nowhere'), str(empty)):
        missing = dataclasses.replace(config, data_dir=data_dir, cache_dir=str(cache_dir))
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            tasks.build_task(name, missing)
        message = str(error.value)
        assert '\n' not in message and (data_dir or 'data_dir=None') in message
    if name not in YOURS:
        assert 'http' in message
    assert not cache_dir.exists()


@pytest.mark.parametrize('name', sorted(set(NEEDS_FILES) - YOURS))
def test_counts_must_be_as_published(name, built):
    _, config = built(name)
    strict = dataclasses.replace(config, options={**config.options, 'partial': 'false'})
    with pytest.raises(ValueError, match=r'published: .*partial=true'):
        tasks.build_task(name, strict)

"""Converting once; what is checked on the way."""

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import preprocessing
from tasks.shared import base
from tasks.shared import converted


def test_sharing_parts_are_refused(tmp_path):
    stores = {}
    for part, identity in (('train', 'cat'), ('test', 'dog'), ('validation', 'cat')):
        with data.UserStoreWriter(tmp_path / part, (2, 2, 1)) as writer:
            writer.add_user(np.zeros((1, 2, 2, 1), np.uint8), [identity], part)
        stores[part] = data.UserStore.open(tmp_path / part)
    converted.check_disjoint({name: stores[name] for name in ('train', 'test')})
    with pytest.raises(ValueError, match="identity 'cat' is in train and in validation"):
        converted.check_disjoint(stores)


def build(tmp_path, examples, facts=(), partial=False, source=1, seed=0):
    read = lambda: converted.Input(examples, len(examples), facts=facts)
    return converted.build(
        base.TaskConfig(cache_dir=str(tmp_path), seed=seed),
        'thing',
        {'source': source},
        preprocessing.Preprocessing(4, channels=1),
        read,
        partial,
        description='a thing',
    )


def example(part, user):
    return conversion.Example(part, user, user, np.full((4, 4), ord(user), np.uint8))


def test_converted_once_and_anew_for_another_source(tmp_path):
    both = [example('train', 'a'), example('test', 'b')]
    first = build(tmp_path, both)
    assert build(tmp_path, []).train.path == first.train.path
    others = [build(tmp_path, both, source=2), build(tmp_path, both, seed=1)]
    assert len({first.train.path, *(task.train.path for task in others)}) == 3


def test_facts_are_checked_before_and_kept(tmp_path):
    both = [example('train', 'a'), example('test', 'b')]
    facts = (base.Fact('things', 2, 3),)
    with pytest.raises(ValueError, match='2 things'):
        build(tmp_path, both, facts)
    assert not list(tmp_path.rglob('*.bin'))
    assert build(tmp_path, both, facts, partial=True).expected_facts == facts
    assert build(tmp_path, [], facts, partial=True).expected_facts == facts


@pytest.mark.parametrize('part, lacking', [('train', 'test'), ('test', 'train')])
def test_a_part_without_images(tmp_path, part, lacking):
    with pytest.raises(ValueError, match=f'no image is left for {lacking}'):
        build(tmp_path, [example(part, 'a')])
    assert not list(tmp_path.rglob('*.bin'))


def test_users_of_the_roster_without_an_image_keep_their_places(tmp_path):
    examples = [example('train', 'b'), example('test', 'd')]
    read = lambda: converted.Input(examples, 2, train_users=['c', 'a', 'b'])
    config = base.TaskConfig(cache_dir=str(tmp_path))
    task = converted.build(
        config, 'thing', {}, preprocessing.Preprocessing(4, channels=1), read
    )
    assert task.train.user_names == ['a', 'b', 'c'] and task.test.user_names == ['d']
    assert task.train.present.tolist() == [False, True, False]
    assert '2 of these users are places without data' in task.summary()

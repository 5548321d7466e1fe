"""Dividing users and identities; converting once; what is checked on the way."""

import collections

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb.data import conversion
from dp_fedemb.data import preprocessing
from tasks.shared import base
from tasks.shared import converted

OPTIONS = base.SplitOptions(test_users=0.3, test_identities=0.25)


def random_counts(users=60, identities=40, each=8, seed=0):
    random = np.random.default_rng(seed)
    counts = collections.Counter()
    for user in range(users):
        for identity in random.integers(0, identities, each):
            counts[f'{user}', f'{identity}'] += 1
    return counts


@pytest.mark.parametrize('seed', range(5))
def test_no_part_sees_users_or_identities_of_another(seed):
    counts = random_counts(seed=seed)
    options = base.SplitOptions(0.3, 0.2, test_identities=0.25, validation_identities=0.25)
    division = converted.divide(counts, options, seed)
    seen = collections.defaultdict(lambda: (set(), set()))
    for user, identity in counts:
        part = division.part(user, identity)
        if part is not None:
            seen[part][0].add(user)
            seen[part][1].add(identity)
    assert set(seen) == {'train', 'test', 'validation'}
    for kind in range(2):
        every = [name for part in seen.values() for name in part[kind]]
        assert len(every) == len(set(every))


def test_fractions_of_shared_identities():
    counts = random_counts(users=200, each=20)
    division = converted.divide(counts, OPTIONS, seed=1)
    held = collections.Counter(division.users.values())
    assert held == {'train': 140, 'test': 60}
    assert collections.Counter(division.identities.values()) == {'train': 30, 'test': 10}


def test_identities_of_one_user_cost_nothing():
    counts = {(f'u{n // 3}', f'i{n}'): 2 for n in range(60)}
    division = converted.divide(counts, OPTIONS, seed=0)
    assert not division.notes(counts)
    assert all(division.part(*pair) for pair in counts)


def test_what_is_left_out_is_counted():
    division = converted.Division(
        {'a': 'train', 'b': 'test', 'c': 'train'}, {'x': 'train', 'y': 'test', 'z': 'test'}
    )
    counts = {('a', 'x'): 5, ('a', 'y'): 2, ('b', 'y'): 4, ('b', 'x'): 1, ('c', 'z'): 1}
    (note,) = division.notes(counts)
    assert note.startswith('4 of 13 images are left out')
    assert note.endswith('so no image is left of 1 users')
    assert division.part('d', 'x') is None and division.part('a', 'w') is None


def test_a_single_shared_identity():
    counts = {(f'u{n}', f'i{n}'): 1 for n in range(10)} | {
        (f'u{n}', 'all'): 1 for n in range(10)
    }
    division = converted.divide(counts, OPTIONS, seed=0)
    assert division.identities['all'] == 'train'
    with pytest.raises(ValueError, match='1 names: too few'):
        converted.divide({(f'u{n}', 'all'): 1 for n in range(10)}, OPTIONS, seed=0)


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

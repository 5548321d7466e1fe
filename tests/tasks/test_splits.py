"""A name's part is a matter of the name alone; one raw user is one user of a store."""

import collections
import pathlib

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import preprocessing
from tasks.shared import base
from tasks.shared import converted
from tasks.shared import splits

NAMES = [f'name {number}' for number in range(4_000)]
FRACTIONS = {'test': 0.2, 'validation': 0.1}
OPTIONS = base.SplitOptions(0.3, 0.2, test_identities=0.2, validation_identities=0.1)


def test_fractions_seed_and_kind_divide():
    parts = [*map(splits.by_hash('user', FRACTIONS, 1), NAMES)]
    counts = collections.Counter(parts)
    # Four standard deviations of a binomial.
    for part, fraction in {**FRACTIONS, 'train': 0.7}.items():
        expected = fraction * len(NAMES)
        assert abs(counts[part] - expected) < 4 * (expected * (1 - fraction)) ** 0.5
    for other in (
        splits.by_hash('user', FRACTIONS, 2),
        splits.by_hash('identity', FRACTIONS, 1),
    ):
        same = sum(a == b for a, b in zip(parts, map(other, NAMES), strict=True))
        # Independent: 0.7^2 + 0.2^2 + 0.1^2 agree by chance.
        assert abs(same / len(NAMES) - 0.54) < 0.04


def test_a_larger_fraction_keeps_who_was_in():
    few = splits.by_hash('user', {'test': 0.1}, 0)
    many = splits.by_hash('user', {'test': 0.3}, 0)
    assert all(many(name) == 'test' for name in NAMES if few(name) == 'test')


@pytest.mark.parametrize('fractions', [{'test': 1.0}, {'test': -0.1}, {'a': 0.5, 'b': 0.5}])
def test_impossible_fractions(fractions):
    with pytest.raises(ValueError, match='fraction'):
        splits.by_hash('user', fractions, 0)


def test_public_lists_are_divided_in_exact_numbers():
    parts = splits.of_public_list(NAMES, {'test': 7, 'validation': 2}, 0)
    assert collections.Counter(parts.values()) == {'test': 7, 'validation': 2, 'train': 3_991}
    assert parts == splits.of_public_list(reversed(NAMES), {'test': 7, 'validation': 2}, 0)
    assert parts != splits.of_public_list(NAMES, {'test': 7, 'validation': 2}, 1)
    with pytest.raises(ValueError, match='leave some for train'):
        splits.of_public_list('ab', {'test': 2}, 0)


def test_what_is_left_out_is_counted():
    users = {'a': 'train', 'b': 'test', 'c': 'train'}
    identities = {'x': 'train', 'y': 'test', 'z': 'test'}
    division = splits.Division(users.get, identities.get)
    counts = {('a', 'x'): 5, ('a', 'y'): 2, ('b', 'y'): 4, ('b', 'x'): 1, ('c', 'z'): 1}
    (note,) = division.notes(counts)
    assert note.startswith('4 of 13 images are left out')
    assert 'no image is left of 1 users' in note
    assert division.part('d', 'x') is None and division.part('a', 'w') is None
    assert division.kept(counts) == 9 and division.roster(users) == ['a', 'c']


def test_own_identities_go_with_their_users_and_nothing_is_left_out():
    counts = {(f'u{n // 3}', f'i{n}'): 2 for n in range(60)}
    division = converted.divide(OPTIONS, 0, own_identities=True)
    assert not division.notes(counts) and division.kept(counts) == 120
    assert {division.part(*pair) for pair in counts} == {'train', 'test', 'validation'}


# One raw user, one user of the store: through division and conversion.


def convert(directory, raw):
    """Returns the training store's users: name -> [(identity, pixel)], and their order."""
    counts = collections.Counter((user, i) for user, rows in raw.items() for i, _ in rows)
    division = converted.divide(OPTIONS, 3, own_identities=False)

    def examples():
        # Not user by user, as archives have it.
        rows = [(pixel, user, i) for user, rows in raw.items() for i, pixel in rows]
        for pixel, user, identity in sorted(rows):
            part = division.part(user, identity)
            if part is not None:
                image = np.full((2, 2), pixel, np.uint8)
                yield conversion.Example(part, user, identity, image)

    read = converted.found(counts, division, examples(), places=raw)
    conversion.convert(
        read.examples,
        directory,
        preprocessing.Preprocessing(2, channels=1),
        read.total,
        max_examples_per_user=2,
        train_users=read.train_users,
    )
    store = data.UserStore.open(directory / 'train')
    users = {name: [] for name in store.user_names}
    for row, user in enumerate(store.users):
        identity = store.identity_names[store.identities[row]]
        pixel = int(store.examples[row, 0, 0, 0])
        users[store.user_names[user]].append((identity, pixel))
    return users


ROWS = strategies.lists(
    strategies.tuples(strategies.sampled_from('abcdefgh'), strategies.integers(0, 255)),
    max_size=5,
)


@given(
    raw=strategies.dictionaries(strategies.sampled_from('ABCDEFGHIJ'), ROWS, max_size=10),
    changed=strategies.sampled_from('ABCDEFGHIJ'),
    other=strategies.none() | ROWS,
)
@settings(max_examples=60)
def test_one_raw_user_changes_one_user_of_the_training_store(
    tmp_path_factory, raw, changed, other
):
    always = {'always4': [(identity, 7) for identity in 'abcdefgh']}
    raw = {**raw, **always}
    neighbour = {name: rows for name, rows in raw.items() if name != changed}
    if other is not None:
        neighbour[changed] = other
    root = tmp_path_factory.mktemp('stores')
    stores = []
    for name, users in (('raw', raw), ('neighbour', neighbour)):
        (root / name).mkdir()
        stores.append(convert(pathlib.Path(root, name), users))
    for name in {*stores[0], *stores[1]} - {changed}:
        assert stores[0][name] == stores[1][name]
    # Whoever is on the roster has a place, whatever the data are.
    division = converted.divide(OPTIONS, 3, own_identities=False)
    for users, store in zip((raw, neighbour), stores, strict=True):
        assert list(store) == division.roster(users)

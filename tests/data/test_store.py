"""The packed store: what is written is read back, and nothing half-written is left."""

import json
import os

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb.data import cache

SHAPE = (4, 5, 3)


def random_images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)


def write_two_users(path):
    alice, bob = random_images(3, 1), random_images(2, 2)
    with data.UserStoreWriter(path, SHAPE, source={'from': 'here'}) as writer:
        writer.add_user(alice, ['cat', 'dog', 'cat'], name='alice')
        writer.add_user(bob, ['dog', 'owl'], name='bob')
    return alice, bob


def test_round_trip(tmp_path):
    alice, bob = write_two_users(tmp_path / 'store')
    store = data.UserStore.open(tmp_path / 'store')
    assert (store.num_users, store.num_examples, store.num_identities) == (2, 5, 3)
    assert store.example_spec == data.ExampleSpec(SHAPE, 'uint8')
    np.testing.assert_array_equal(store.examples, np.concatenate([alice, bob]))
    np.testing.assert_array_equal(store.identities, [0, 1, 0, 1, 2])
    np.testing.assert_array_equal(store.user_splits, [0, 3, 5])
    np.testing.assert_array_equal(store.users, [0, 0, 0, 1, 1])
    assert store.identities.dtype == np.int32 and store.user_splits.dtype == np.int64
    assert store.user_names == ['alice', 'bob']
    assert store.identity_names == ['cat', 'dog', 'owl']
    assert store.meta['source'] == {'from': 'here'}
    assert store.examples_path.read_bytes() == np.concatenate([alice, bob]).tobytes()


def test_numbers_may_name_identities(tmp_path):
    with data.UserStoreWriter(tmp_path / 'store', SHAPE) as writer:
        writer.add_user(random_images(3), np.array([7, 3, 7]))
    store = data.UserStore.open(tmp_path / 'store')
    assert store.identity_names == ['7', '3'] and list(store.identities) == [0, 1, 0]


@pytest.mark.parametrize(
    'images, identities, words',
    [
        (random_images(2).astype(np.float32), [0, 1], 'float32'),
        (random_images(2)[:, :3], [0, 1], 'expected uint8'),
        (random_images(0), [], 'no examples'),
        (random_images(2), [0], '1 identities for 2 examples'),
    ],
)
def test_refused_users_leave_nothing(tmp_path, images, identities, words):
    with pytest.raises(ValueError, match=words):
        with data.UserStoreWriter(tmp_path / 'store', SHAPE) as writer:
            writer.add_user(random_images(1), [0])
            writer.add_user(images, identities)
    assert not list(tmp_path.iterdir())


def test_no_users_is_an_error(tmp_path):
    with pytest.raises(ValueError, match='no example was added'):
        with data.UserStoreWriter(tmp_path / 'store', SHAPE):
            pass
    assert not list(tmp_path.iterdir())


def test_existing_store_is_not_overwritten(tmp_path):
    write_two_users(tmp_path / 'store')
    with pytest.raises(FileExistsError, match='delete it'):
        data.UserStoreWriter(tmp_path / 'store', SHAPE)


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
    dead = tmp_path / '.store.partial-0000'
    dead.mkdir()
    write_two_users(tmp_path / 'store')
    assert [path.name for path in tmp_path.iterdir()] == ['store']


def truncate_images(path):
    (path / 'examples.bin').write_bytes(b'123')


def drop_images(path):
    (path / 'examples.bin').unlink()


def drop_a_user(path):
    np.save(path / 'user_splits.npy', np.array([0, 5]))


def drop_an_identity(path):
    np.save(path / 'identities.npy', np.array([0, 1, 0, 1, 1], np.int32))


def other_version(path):
    meta = json.loads((path / 'meta.json').read_text())
    (path / 'meta.json').write_text(json.dumps({**meta, 'format_version': 0}))


def other_counts(path):
    meta = json.loads((path / 'meta.json').read_text())
    (path / 'meta.json').write_text(json.dumps({**meta, 'num_examples': 6}))


def cut_meta(path):
    (path / 'meta.json').write_text('{"format_version"')


def lacking_meta(path):
    (path / 'meta.json').write_text('{"format_version": 1}')


@pytest.mark.parametrize(
    'spoil',
    [
        truncate_images,
        drop_images,
        drop_a_user,
        drop_an_identity,
        other_version,
        other_counts,
        cut_meta,
        lacking_meta,
    ],
)
def test_spoiled_store_is_refused_in_one_line(tmp_path, spoil):
    write_two_users(tmp_path / 'store')
    spoil(tmp_path / 'store')
    with pytest.raises(ValueError) as error:
        data.UserStore.open(tmp_path / 'store')
    message = str(error.value)
    assert str(tmp_path / 'store') in message and 'delete the directory' in message
    assert '\n' not in message


def test_missing_store(tmp_path):
    with pytest.raises(FileNotFoundError, match='no user store'):
        data.UserStore.open(tmp_path / 'nowhere')


def test_cache_builds_once_per_source(tmp_path):
    built = []

    def build(directory):
        built.append(directory)
        write_two_users(directory / 'train')
        write_two_users(directory / 'test')

    for source in ({'seed': 1}, {'seed': 1}, {'seed': 2}):
        stores = cache.cached_stores(tmp_path, 'task', source, build)
        assert sorted(stores) == ['test', 'train']
    assert len(built) == 2
    assert len(list((tmp_path / 'task').iterdir())) == 2


def test_interrupted_build_is_repeated(tmp_path):
    def interrupted(directory):
        write_two_users(directory / 'train')
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.cached_stores(tmp_path, 'task', {}, interrupted)
    assert not list((tmp_path / 'task').iterdir())
    stores = cache.cached_stores(
        tmp_path, 'task', {}, lambda directory: write_two_users(directory / 'train')
    )
    assert stores['train'].num_users == 2


def test_cache_refuses_a_folder_of_another_source(tmp_path):
    build = lambda directory: write_two_users(directory / 'train')
    stores = cache.cached_stores(tmp_path, 'task', {'seed': 1}, build)
    (stores['train'].path.parent / 'source.json').write_text('{"seed": 3}')
    with pytest.raises(ValueError, match='delete the directory'):
        cache.cached_stores(tmp_path, 'task', {'seed': 1}, build)


def test_fingerprint_follows_the_content(tmp_path):
    path = tmp_path / 'archive'
    path.write_bytes(b'one')
    first = cache.file_fingerprint(path, tmp_path / 'cache')
    assert first == cache.file_fingerprint(path, tmp_path / 'cache')
    path.write_bytes(b'two')
    os.utime(path, ns=(1, 1))
    assert cache.file_fingerprint(path, tmp_path / 'cache') != first


def test_names_of_images(tmp_path):
    with data.UserStoreWriter(tmp_path / 'store', SHAPE, max_examples_per_user=2) as writer:
        writer.add_user(random_images(1), [0], 'alice', ['a.png'])
        writer.add_user(random_images(3), [0, 1, 2], 'bob', ['b\n0', 'b\udcff', 'b\r2'])
    store = data.UserStore.open(tmp_path / 'store')
    assert store.example_names[0] == 'a.png' and len(store.example_names) == 3
    numbers = [{'b 0': 0, 'b\udcff': 1, 'b 2': 2}[name] for name in store.example_names[1:]]
    assert [store.identity_names[i] for i in store.identities[1:]] == list(map(str, numbers))
    expected = random_images(3)[numbers]
    np.testing.assert_array_equal(store.examples[1:], expected)


@pytest.mark.parametrize('first, second', [(['a'], None), (None, ['b']), (['a', 'b'], None)])
def test_images_have_names_everywhere_or_nowhere(tmp_path, first, second):
    with pytest.raises(ValueError, match='for each example of all users, or none'):
        with data.UserStoreWriter(tmp_path / 'store', SHAPE) as writer:
            writer.add_user(random_images(1), [0], 'alice', first)
            writer.add_user(random_images(1), [0], 'bob', second)


def test_listing_fingerprint_follows_names_sizes_and_times(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'one').write_bytes(b'1')
    seen = {cache.listing_fingerprint(tmp_path)}
    os.utime(tmp_path / 'a' / 'one', ns=(5, 5))
    seen.add(cache.listing_fingerprint(tmp_path))
    (tmp_path / 'a' / 'one').rename(tmp_path / 'a' / 'two')
    seen.add(cache.listing_fingerprint(tmp_path))
    (tmp_path / 'three').write_bytes(b'')
    seen.add(cache.listing_fingerprint(tmp_path))
    assert len(seen) == 4 and cache.listing_fingerprint(tmp_path) in seen
    assert cache.listing_fingerprint(tmp_path, [tmp_path / 'three']) not in seen


def test_reading_ahead_asks_for_the_rows_of_the_users(tmp_path, monkeypatch):
    write_two_users(tmp_path / 'store')
    store = data.UserStore.open(tmp_path / 'store')
    asked = []
    monkeypatch.setattr(os, 'posix_fadvise', lambda file, *span: asked.append(span))
    size = int(np.prod(SHAPE))
    store.read_ahead(np.array([1, 0]))
    will_need = os.POSIX_FADV_WILLNEED
    assert asked == [(3 * size, 2 * size, will_need), (0, 3 * size, will_need)]
    monkeypatch.delattr(os, 'posix_fadvise')
    store.read_ahead([0])


def test_absent_users_are_places_without_rows(tmp_path):
    with data.UserStoreWriter(tmp_path / 'store', SHAPE) as writer:
        writer.add_absent_user('first')
        writer.add_user(random_images(2), [0, 1], 'alice')
        writer.add_absent_user('last')
    store = data.UserStore.open(tmp_path / 'store')
    assert (store.num_users, store.num_examples) == (3, 2)
    assert store.user_names == ['first', 'alice', 'last']
    assert store.present.tolist() == [False, True, False]
    assert store.users.tolist() == [1, 1]


def test_places_alone_are_no_store(tmp_path):
    with pytest.raises(ValueError, match='no example was added'):
        with data.UserStoreWriter(tmp_path / 'store', SHAPE) as writer:
            writer.add_absent_user('alice')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('absent', [False, True])
def test_a_name_is_one_user(tmp_path, absent):
    with pytest.raises(ValueError, match="'alice': was added before"):
        with data.UserStoreWriter(tmp_path / 'store', SHAPE) as writer:
            writer.add_user(random_images(1), [0], 'alice')
            if absent:
                writer.add_absent_user('alice')
            else:
                writer.add_user(random_images(1), [0], 'alice')
    assert not list(tmp_path.iterdir())


def test_a_store_with_one_name_twice_is_not_opened(tmp_path):
    write_two_users(tmp_path / 'store')
    (tmp_path / 'store' / 'user_names.txt').write_text('alice\nalice\n')
    with pytest.raises(ValueError, match="'alice' is there twice"):
        data.UserStore.open(tmp_path / 'store')


def test_examples_of_any_shape_and_type(tmp_path):
    spec = data.ExampleSpec((7, 2), 'float32')
    series = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
    with data.UserStoreWriter(tmp_path / 'store', spec) as writer:
        writer.add_user(series[:3], [0, 1, 0])
        writer.add_user(series[3:], [1, 2])
        with pytest.raises(ValueError, match='not finite'):
            writer.add_user(np.full((1, 7, 2), np.nan, np.float32), [0])
        with pytest.raises(ValueError, match=r'expected float32\[n, 7, 2\]'):
            writer.add_user(series.astype(np.float64), [0] * 5)
    store = data.UserStore.open(tmp_path / 'store')
    assert store.example_spec == spec
    np.testing.assert_array_equal(store.examples, series)


def test_stores_of_images_from_before_still_open(tmp_path):
    alice, bob = write_two_users(tmp_path / 'store')
    meta = json.loads((tmp_path / 'store' / 'meta.json').read_text())
    del meta['example_shape'], meta['example_dtype']
    meta.update(format_version=1, image_shape=list(SHAPE))
    (tmp_path / 'store' / 'meta.json').write_text(json.dumps(meta))
    (tmp_path / 'store' / 'examples.bin').rename(tmp_path / 'store' / 'images.bin')
    (tmp_path / 'store' / 'image_names.txt').write_text('a\nb\nc\nd\ne\n')
    store = data.UserStore.open(tmp_path / 'store')
    np.testing.assert_array_equal(store.examples, np.concatenate([alice, bob]))
    assert store.example_spec == data.ExampleSpec(SHAPE)
    assert store.example_names == list('abcde')


def test_two_spellings_of_a_name_are_one_user(tmp_path):
    composed, decomposed = 'Jos\u00e9', 'Jose\u0301'
    image = np.zeros((1, 2, 2, 1), np.uint8)
    with pytest.raises(ValueError, match='was added before'):
        with data.UserStoreWriter(tmp_path / 'twice', (2, 2, 1)) as writer:
            writer.add_user(image, [composed], composed)
            writer.add_user(image, [composed], decomposed)
    with data.UserStoreWriter(tmp_path / 'store', (2, 2, 1)) as writer:
        writer.add_user(np.concatenate([image] * 2), [composed, decomposed], decomposed)
        writer.add_user(image, [composed], 'bo')
    store = data.UserStore.open(tmp_path / 'store')
    assert store.user_names == [composed, 'bo'] and store.identity_names == [composed]
    # A store from elsewhere.
    (tmp_path / 'store' / 'user_names.txt').write_text(f'{composed}\n{decomposed}\n')
    with pytest.raises(ValueError, match='is there twice'):
        data.UserStore.open(tmp_path / 'store')

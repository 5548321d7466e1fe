"""Images in any order become users' rows; broken ones and interruptions are met."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from dp_fedemb.data import cache
from dp_fedemb.data import store as store_lib
from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import preprocessing

AS_IT_IS = preprocessing.Preprocessing(4, channels=1)


def image_of(number):
    return np.full((4, 4), number, np.uint8)


def example(number, part='train', user=None, identity=None, image=None, name=''):
    return conversion.Example(
        part,
        f'user{number % 3}' if user is None else user,
        f'identity{number % 5}' if identity is None else identity,
        image_of(number) if image is None else image,
        name,
    )


def convert(directory, examples, **options):
    examples = list(examples)
    conversion.convert(examples, directory, AS_IT_IS, len(examples), **options)
    return {
        path.name: store_lib.UserStore.open(path)
        for path in directory.iterdir()
        if path.is_dir()
    }


def test_scattered_images_are_gathered_by_user(tmp_path):
    (store,) = convert(tmp_path, map(example, range(200))).values()
    assert store.user_names == ['user0', 'user1', 'user2']
    assert (store.num_examples, store.num_identities) == (200, 5)
    numbers = store.examples[:, 0, 0, 0].astype(int)
    users = np.array(store.user_names)[store.users]
    names = np.array(store.identity_names)[store.identities]
    for number, user, name in zip(numbers, users, names):
        assert user == f'user{number % 3}' and name == f'identity{number % 5}'
    # A user's images in the order they came.
    assert all(np.all(np.diff(numbers[users == f'user{u}']) == 3) for u in range(3))
    assert store.example_names is None
    assert not (tmp_path / 'spool.bin').exists()


def notes_of(directory, *owned, places=()):
    """Notes on pictures, each (part, user, number of the picture)."""
    drawn = np.random.default_rng(0).integers(0, 256, (9, 4, 4), dtype=np.uint8)
    drawn[0] = 7
    examples = [
        example(0, part, user, 'any', drawn[number], f'{user}/{index}')
        for index, (part, user, number) in enumerate(owned)
    ]
    return conversion.convert(examples, directory, AS_IT_IS, None, train_users=places)


def test_pictures_in_two_parts_or_of_two_users_are_counted(tmp_path):
    # A user's own copies, copies among tested ones and plain pictures say nothing.
    clean = [('train', 'a', 1), ('train', 'a', 1), ('test', 'c', 2), ('test', 'd', 2)]
    plain = [('train', 'b', 0), ('test', 'e', 0), ('train', 'f', 0)]
    (tmp_path / 'clean').mkdir()
    assert notes_of(tmp_path / 'clean', *clean, *plain) == ()
    twice = [('test', 'g', 1), ('validation', 'h', 2), ('train', 'i', 3), ('train', 'b', 3)]
    (tmp_path / 'twice').mkdir()
    parts, users = notes_of(tmp_path / 'twice', *twice, *clean, *plain)
    assert parts.startswith(
        '2 images are, as stored, the same as one of another part (g/0 = a/'
    )
    assert users.startswith('1 images of train are, as stored, the same as one of another user')
    assert 'b/3 = i/2' in users


def test_names_that_look_alike_are_said(tmp_path):
    owned = [('train', 'Ann', 1), ('test', 'ann ', 2), ('train', 'bo', 3)]
    (note,) = notes_of(tmp_path, *owned, places=['bo\u200f', 'cy'])
    assert (
        note.startswith('2 name(s) of users with another one that looks alike')
        and "'Ann' = 'ann '" in note
    )


def test_parts_are_apart_and_only_training_is_limited(tmp_path):
    examples = [example(n, part='train' if n % 2 else 'test') for n in range(60)]
    stores = convert(tmp_path, examples, max_examples_per_user=4, seed=3)
    assert set(np.diff(stores['train'].user_splits)) == {4}
    assert stores['train'].meta['examples_dropped'] == 30 - 12
    assert stores['test'].num_examples == 30 and stores['test'].meta['users_cut'] == 0
    assert set(np.unique(stores['test'].examples)) == set(range(0, 60, 2))


def test_sample_of_a_user_depends_on_the_seed_and_not_on_others(tmp_path):
    def kept(folder, seed, users):
        (tmp_path / folder).mkdir()
        examples = [example(n, user=f'u{n % users}', name=f'{n}') for n in range(0, 120, 2)]
        store = convert(tmp_path / folder, examples, max_examples_per_user=5, seed=seed)[
            'train'
        ]
        return [name for name, user in zip(store.example_names, store.users) if user == 0]

    first = kept('a', 1, users=2)
    assert len(first) == 5 and first == kept('b', 1, users=2) != kept('c', 2, users=2)
    assert first == sorted(first, key=int)


def test_names_of_images(tmp_path):
    store = convert(tmp_path, [example(n, name=f'image {n}') for n in range(20)])['train']
    numbers = store.examples[:, 0, 0, 0]
    assert store.example_names == [f'image {number}' for number in numbers]


def test_broken_images_up_to_the_limit(tmp_path):
    def fails():
        raise KeyError('no such member')

    broken = {4: b'', 7: pathlib.Path('nowhere.png'), 9: fails, 11: b'\xff' * 99}
    examples = [example(n, image=broken.get(n), name=f'image {n}') for n in range(300)]
    store = convert(tmp_path, examples, max_broken=4)['train']
    assert store.num_examples == 296
    listed = conversion.broken_images(tmp_path)
    assert [line.split(':')[0] for line in listed] == [f'image {n}' for n in broken]
    assert 'no such member' in listed[2]
    (tmp_path / 'again').mkdir()
    with pytest.raises(ValueError) as error:
        convert(tmp_path / 'again', examples, max_broken=3)
    assert '4 broken image(s), at most 3 are skipped: image 4: ' in str(error.value)
    assert '\n' not in str(error.value)


def test_a_programming_error_is_no_broken_image(tmp_path):
    def fails():
        raise TypeError('wrong')

    with pytest.raises(TypeError):
        convert(tmp_path, [example(0, image=fails)], max_broken=9)


def test_images_are_not_all_held_in_memory(tmp_path):
    held, most = set(), 0

    class Tracked(np.ndarray):
        def __del__(self):
            held.discard(id(self))

    def image(number):
        made = np.full((64, 64), number % 251, np.uint8).view(Tracked)
        held.add(id(made))
        return made

    def examples():
        nonlocal most
        for number in range(3_000):
            most = max(most, len(held))
            yield example(number, user=f'{number // 100:02d}', image=image(number))

    conversion.convert(examples(), tmp_path, preprocessing.Preprocessing(64, 1), None)
    store = store_lib.UserStore.open(tmp_path / 'train')
    assert np.array_equal(store.examples[:, 5, 5, 0], np.arange(3_000) % 251)
    assert 0 < most < 1_000


PROGRAM = """
    import pathlib, sys, time
    import numpy as np
    from dp_fedemb.data import cache
    from dp_fedemb.data.images import conversion, preprocessing

    def examples():
        for number in range(2_000):
            if number == 1_500:
                print('halfway', flush=True)
                time.sleep(60)
            image = np.full((4, 4), number % 256, np.uint8)
            yield conversion.Example('train', f'u{number % 7}', 'i', image)

    def build(directory):
        conversion.convert(examples(), directory, preprocessing.Preprocessing(4, 1), 2_000)

    cache.cached_stores(sys.argv[1], 'thing', {}, build)
"""


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_conversion_is_repeated(tmp_path, how):
    root = pathlib.Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(PROGRAM), str(tmp_path)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout.readline() == b'halfway\n'
        process.send_signal(how)
        assert process.wait(120) != 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

    def build(directory):
        (directory.parent / 'others').write_text('\n'.join(os.listdir(directory.parent)))
        conversion.convert(map(example, range(30)), directory, AS_IT_IS, 30)

    stores = cache.cached_stores(tmp_path, 'thing', {}, build)
    assert stores['train'].num_examples == 30
    # What the killed process left is gone.
    draft, lock = sorted((tmp_path / 'thing' / 'others').read_text().split('\n'))
    assert '.partial-' in draft and lock.endswith('.partial-lock')
    assert len(os.listdir(tmp_path / 'thing')) == 2


def test_a_user_of_whom_all_is_broken_is_named(tmp_path):
    examples = [example(n, image=b'x' if n % 3 == 1 else None, name=f'{n}') for n in range(9)]
    notes = conversion.convert(
        examples,
        tmp_path,
        AS_IT_IS,
        None,
        max_broken=3,
        train_users=['user0', 'user1', 'user2'],
    )
    assert len(notes) == 1 and 'no image can be read of 1 users: user1;' in notes[0]
    store = store_lib.UserStore.open(tmp_path / 'train')
    assert store.present.tolist() == [True, False, True]


def test_names_of_broken_images_are_a_line_each(tmp_path):
    names = ['a\nb.jpg', 'c\x1b[31m.jpg', 'd\u2028e.jpg', 'f\rg.jpg', 'h\udcff.jpg']
    broken = [example(0, image=b'', name=name) for name in names]
    convert(tmp_path, [example(1, name='fine.jpg'), *broken], max_broken=9)
    listed = conversion.broken_images(tmp_path)
    assert len(listed) == len(names) and all(line.isprintable() for line in listed)
    assert listed[:2] == [
        r'a\nb.jpg: no picture of a known format',
        r'c\x1b[31m.jpg: no picture of a known format',
    ]

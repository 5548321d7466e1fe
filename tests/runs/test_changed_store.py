"""A store that changes under a run: no sum of other data is committed, and the run goes on."""

import os
import shutil

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb import evaluation
from dp_fedemb import host_error

SEED = 2**100 + 7
STRUCK = 1


class Engines(list):
    """Engines that do something to the machine while a round is computed."""

    def __init__(self, act):
        super().__init__()
        self._act = act

    def append(self, engine):
        super().append(engine)
        of_round = engine.next

        def next_round(state, shards, commit=None):
            if int(state.client_work) == STRUCK:
                self._act()
            return of_round(state, shards, commit)

        engine.next = next_round


def cut(path):
    # Larger than nothing, since the map of what is gone may not be read.
    os.truncate(path, path.stat().st_size // 2)


def replace(path):
    other = path.with_name('other')
    other.write_bytes(path.read_bytes())
    os.replace(other, path)


def write_into(path):
    with open(path, 'r+b') as file:
        file.write(b'other')


def copied(users, path):
    """A store like another one, which was written long before what a test does to it."""
    shutil.copytree(users.path, path)
    # Of the same size, a file within the same step of the disk's clock is the same to anybody.
    os.utime(path / users.examples_path.name, ns=(10**18, 10**18))
    return data.UserStore.open(path)


@pytest.mark.parametrize('change', [cut, replace, write_into, os.unlink])
def test_a_round_on_a_changed_store_counts_for_nothing(
    make_experiment, users, tree, tmp_path, change
):
    make_experiment(train=users).run(tmp_path / 'undisturbed', SEED)
    store = copied(users, tmp_path / 'users')
    engines = Engines(lambda: change(store.examples_path))
    experiment = make_experiment(train=store, engines=engines)
    with pytest.raises(host_error.HostError) as caught:
        experiment.run(tmp_path / 'run', SEED)
    assert str(store.examples_path) in str(caught.value)
    assert len(engines[0].attempts) == STRUCK, 'the sum of the round was committed'
    shutil.copyfile(users.examples_path, store.examples_path)
    make_experiment(train=data.UserStore.open(store.path)).run(tmp_path / 'run', SEED)

    def without_checkpoints(name):
        return {
            path: content
            for path, content in tree(tmp_path / name).items()
            if not path.startswith('checkpoints')
        }

    found, expected = without_checkpoints('run'), without_checkpoints('undisturbed')
    assert sorted(found) == sorted(expected)
    assert [path for path in found if found[path] != expected[path]] == []


def test_a_store_is_what_was_opened(users, tmp_path):
    store = copied(users, tmp_path / 'users')
    store.check_unchanged()
    np.testing.assert_array_equal(store.examples, users.examples)
    write_into(store.examples_path)
    with pytest.raises(host_error.HostError, match='examples.bin: was changed, or replaced,'):
        store.check_unchanged()
    os.unlink(store.examples_path)
    with pytest.raises(host_error.HostError, match='examples.bin: is gone since it was opened'):
        store.check_unchanged()


def test_embeddings_of_a_changed_store_are_none(users, tmp_path):
    store = copied(users, tmp_path / 'users')

    def model(batch):
        write_into(store.examples_path)
        return np.ones((len(batch), 2), np.float32)

    with pytest.raises(host_error.HostError, match='was changed, or replaced,'):
        evaluation.embed_store(model, store)

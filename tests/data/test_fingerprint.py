"""A store's keyed fingerprint follows whatever training reads, and the key."""

import os
import shutil

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb.data import fingerprint

KEY = b'k' * 32


def write(
    path, images=((0, 1, 2), (3, 4)), identities=('ab', 'b'), names=('u', 'v'), absent=''
):
    with data.UserStoreWriter(path, (2, 2, 1), source={'path': str(path)}) as writer:
        for values, shown, name in zip(images, identities, names):
            examples = np.array(values, np.uint8)[:, None, None, None] * np.ones(
                (1, 2, 2, 1), np.uint8
            )
            labels = [shown[min(row, len(shown) - 1)] for row in range(len(values))]
            writer.add_user(examples, labels, name)
        for name in absent:
            writer.add_absent_user(name)
    return data.UserStore.open(path)


def test_the_same_contents_elsewhere_have_the_same_fingerprint(tmp_path):
    first = write(tmp_path / 'first').fingerprint(KEY)
    assert len(first) == 64 and write(tmp_path / 'second').fingerprint(KEY) == first
    shutil.copytree(tmp_path / 'first', tmp_path / 'copy')
    assert data.UserStore.open(tmp_path / 'copy').fingerprint(KEY) == first


def test_every_change_and_another_key_change_it(tmp_path):
    changed = [
        {'images': ((0, 1, 9), (3, 4))},
        {'images': ((0, 1), (2, 3, 4)), 'identities': ('ab', 'bbb')},
        {'identities': ('ab', 'a')},
        {'identities': ('ac', 'c')},
        {'names': ('u', 'w')},
        {'absent': 'w'},
    ]
    stores = [write(tmp_path / 'before')]
    stores += [write(tmp_path / str(i), **change) for i, change in enumerate(changed)]
    found = [store.fingerprint(KEY) for store in stores]
    found.append(stores[0].fingerprint(b'j' * 32))
    assert len(set(found)) == len(found)


def test_all_blocks_are_read_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, '_BLOCK', 4)
    lasts = [(3, 4), (4, 3), (3, 5)]
    stores = [
        write(tmp_path / str(place), images=((0, 1, 2), last))
        for place, last in enumerate(lasts)
    ]
    assert len({store.fingerprint(KEY) for store in stores}) == 3


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path):
    store = write(tmp_path / 'store')
    before = store.fingerprint(KEY)
    status = store.examples_path.stat()
    content = bytearray(store.examples_path.read_bytes())
    content[-1] ^= 1
    store.examples_path.write_bytes(content)
    os.utime(store.examples_path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.fingerprint(KEY) != before


@pytest.mark.parametrize('key', [b'', b'k' * 15])
def test_short_keys_are_refused(tmp_path, key):
    with pytest.raises(ValueError, match='expected at least 16'):
        write(tmp_path / 'store').fingerprint(key)

"""Training users for rounds that are compared."""

import pathlib
import tempfile

import numpy as np
import pytest

from dp_fedemb import data


@pytest.fixture(scope='session')
def write_users():
    """Function that writes and opens a store: each user has three images and two more."""

    def write(path, num_users, image_shape):
        generator = np.random.default_rng(0)
        with data.UserStoreWriter(path, image_shape) as writer:
            for user in range(num_users):
                images = generator.integers(0, 256, (5, *image_shape), np.uint8)
                identities = [2 * user] * 3 + [2 * user + 1] * 2
                writer.add_user(images, identities, name=f'user{user}')
        return data.UserStore.open(path)

    return write


@pytest.fixture
def short_folder():
    """For sockets, whose paths have 107 bytes at most, wherever pytest's folders are."""
    with tempfile.TemporaryDirectory(prefix='fe', dir='/tmp') as path:
        yield pathlib.Path(path)

"""A model and virtual clients small enough to check by hand."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import models
from dp_fedemb.data import virtual_clients

IMAGE_SHAPE = (4, 4, 1)
HIDDEN, EMBEDDING_DIM = 5, 3


def _build_backbone():
    images = tf.keras.Input(IMAGE_SHAPE)
    x = tf.keras.layers.Flatten()(images)
    x = tf.keras.layers.Dense(HIDDEN, activation='relu')(x)
    return tf.keras.Model(images, tf.keras.layers.Dense(EMBEDDING_DIM)(x))


@pytest.fixture(scope='session')
def small_model():
    """Two dense layers and a linear head."""
    head = models.HEADS['linear']()
    return models.EmbeddingModel(_build_backbone, IMAGE_SHAPE, EMBEDDING_DIM, head)


@pytest.fixture(scope='session')
def small_weights():
    """Weights to start from: two kernels and two biases."""
    generator = np.random.default_rng(1)
    pixels = int(np.prod(IMAGE_SHAPE))
    shapes = [[pixels, HIDDEN], [HIDDEN], [HIDDEN, EMBEDDING_DIM], [EMBEDDING_DIM]]
    return [generator.normal(size=shape).astype(np.float32) * 0.4 for shape in shapes]


@pytest.fixture(scope='session')
def make_clients():
    """Function from numbers of examples to virtual clients of two to four identities."""

    def make(sizes, seed=0):
        generator = np.random.default_rng(seed)
        return [
            collections.OrderedDict(
                examples=generator.integers(0, 256, [size, *IMAGE_SHAPE], np.uint8),
                labels=(np.arange(size) % (2 + index % 3)).astype(np.int32),
                seed=generator.integers(-(2**62), 2**62, 2),
            )
            for index, size in enumerate(sizes)
        ]

    return make


@pytest.fixture(scope='session')
def describe():
    """Function from virtual clients to a shard descriptor: all of them end to end."""

    def describe_shard(clients):
        empty = np.zeros([0, *IMAGE_SHAPE], np.uint8)
        return collections.OrderedDict(
            examples=np.concatenate([empty] + [client['examples'] for client in clients]),
            labels=np.concatenate(
                [np.zeros(0, np.int32)] + [client['labels'] for client in clients]
            ),
            splits=np.cumsum([0] + [len(client['labels']) for client in clients]),
            seeds=np.array([client['seed'] for client in clients], np.int64).reshape(-1, 2),
        )

    return describe_shard


@pytest.fixture(scope='session')
def read():
    """Function from a shard descriptor to its virtual clients, as the engines read them."""

    def read_shard(shard):
        images = shard['examples']
        # Backwards, so that a row is not its own position.
        rows = tf.range(tf.shape(images, tf.int64)[0] - 1, -1, -1)
        return virtual_clients.Shard(
            examples=images[::-1],
            rows=rows,
            labels=shard['labels'],
            splits=shard['splits'],
            seeds=shard['seeds'],
        )

    return read_shard


@pytest.fixture(scope='session')
def read_sequence():
    """Function from a shard descriptor to the data set of its virtual clients."""

    def read_shard(shard):
        def virtual_client(index):
            start, end = shard['splits'][index], shard['splits'][index + 1]
            return collections.OrderedDict(
                examples=shard['examples'][start:end],
                labels=shard['labels'][start:end],
                seed=shard['seeds'][index],
            )

        shard = collections.OrderedDict(
            (name, tf.convert_to_tensor(value)) for name, value in shard.items()
        )
        count = tf.shape(shard['splits'], tf.int64)[0] - 1
        return tf.data.Dataset.range(count).map(virtual_client)

    return read_shard

"""Whether a worker's copy of a store is the driver's, byte for byte, in one number.

Multilinear hashing modulo 2^64 (Lemire and Kaser, *Strongly universal string hashing is
fast*, 2014): the sum of all words of 32 bits, each times a random number of 64. With fresh
random numbers two files that differ give the same sum with a probability below 2^-32.
TensorFlow computes it wherever the file is, and nothing but the sum is sent.
"""

from typing import Union

import numpy as np
import tensorflow as tf

from dp_fedemb.data import store as store_lib
from dp_fedemb.data import virtual_clients

_CHUNK_BYTES = 1 << 22


def of_driver(store: store_lib.UserStore, key: np.ndarray) -> int:
    """Returns the sum over the examples that a store has open.

    Args:
        store: the driver's.
        key: int64 [2], of the random numbers; fresh for every comparison.
    """
    total = tf.constant(0, tf.int64)
    rows = _rows(store)
    for start in range(0, store.num_examples, rows):
        total += _sum(tf.constant(store.examples[start : start + rows]), key, start)
    return int(total)


def of_path(store: store_lib.UserStore, key: np.ndarray) -> tf.Tensor:
    """Returns the same, int64, over what is at the store's path where the graph runs."""
    examples = virtual_clients.map_examples(store)
    rows = _rows(store)
    return tf.while_loop(
        lambda start, total: start < store.num_examples,
        lambda start, total: (
            start + rows,
            total + _sum(examples[start : start + rows], key, start),
        ),
        [tf.constant(0), tf.constant(0, tf.int64)],
        parallel_iterations=1,
    )[1]


def _rows(store: store_lib.UserStore) -> int:
    return max(1, _CHUNK_BYTES // store.example_spec.num_bytes)


def _sum(examples: tf.Tensor, key: np.ndarray, start: Union[int, tf.Tensor]) -> tf.Tensor:
    octets = tf.reshape(tf.bitcast(examples, tf.uint8), [-1])
    padded = tf.pad(octets, [[0, -tf.size(octets) % 4]])
    words = tf.cast(tf.bitcast(tf.reshape(padded, [-1, 4]), tf.uint32), tf.int64)
    factors = tf.random.stateless_uniform(
        tf.shape(words),
        [key[0], key[1] + tf.cast(start, tf.int64)],
        minval=None,
        maxval=None,
        dtype=tf.int64,
        alg='philox',
    )
    return tf.reduce_sum(words * factors)

"""Initial weights as a function of a seed, whatever the process did before."""

from collections.abc import Callable
import hashlib
import random
import threading

import numpy as np
import tensorflow as tf


def initial_weights(
    build_backbone: Callable[[], tf.keras.Model], seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Builds a model under a seed and returns the weights that it starts with.

    Keras draws the seeds of its initializers from a generator local to the thread,
    TensorFlow from one local to the graph, and layers of users may use Python's or
    NumPy's. All are seeded here, in a thread and a graph of their own, and the two
    that the whole process shares are put back, so that the caller notices nothing.

    Args:
        build_backbone: no-argument function returning a Keras model.
        seed: any integer of at least 0.

    Returns:
        The values of `trainable_variables` and of `non_trainable_variables`.

    Raises:
        ValueError: for a negative seed.
    """
    if seed < 0:
        raise ValueError(f'seed={seed}: expected an integer of at least 0')
    # Hashed, since the generators take 32 bits and the weights are released: the
    # seed, which keys the noise too, cannot be read back from them.
    digest = hashlib.sha256(f'{seed}/initial_weights'.encode()).digest()
    key = int.from_bytes(digest[:4], 'big')
    results, errors = [], []

    def build():
        try:
            with tf.Graph().as_default():
                tf.keras.utils.set_random_seed(key)
                backbone = build_backbone()
                groups = (backbone.trainable_variables, backbone.non_trainable_variables)
                with tf.compat.v1.Session() as session:
                    session.run(tf.compat.v1.global_variables_initializer())
                    results.extend(session.run([list(group) for group in groups]))
        except BaseException as error:  # Raised again in the caller's thread.
            errors.append(error)

    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
    if errors:
        raise errors[0]
    trainable, non_trainable = results
    return trainable, non_trainable

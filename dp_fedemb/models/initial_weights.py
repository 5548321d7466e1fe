"""Initial weights as a function of a seed, whatever the process did before."""

from collections.abc import Callable
import hashlib
import random
import threading

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context


def initial_weights(
    build_backbone: Callable[[], tf.keras.Model], seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Builds a model under a seed and returns the weights that it starts with.

    Keras draws the seeds of its initializers from a generator local to the thread;
    layers of users may draw from those of TensorFlow, Python or NumPy, which belong to
    the process. All are seeded, in a thread of their own, and the latter are put back,
    so that the caller notices nothing. Nothing else may draw from them meanwhile.

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

    def build() -> None:
        try:
            tf.keras.utils.set_random_seed(key)
            backbone = build_backbone()
            for group in (backbone.trainable_variables, backbone.non_trainable_variables):
                results.append([variable.numpy() for variable in group])
        except BaseException as error:  # Raised again in the caller's thread.
            errors.append(error)

    tensorflow = context.context()
    # There is no public way to put back what tf.random.set_seed sets.
    tensorflow_state = tensorflow._seed, getattr(tensorflow, '_rng', None)
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        tensorflow._seed, tensorflow._rng = tensorflow_state
    if errors:
        raise errors[0]
    trainable, non_trainable = results
    return trainable, non_trainable

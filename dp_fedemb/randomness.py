"""Keyed random streams: everything secret in a run follows from one seed.

A round's cohort, heads and noise are functions of (seed, purpose, round), so a
round that is repeated after a crash repeats the same release instead of making a
second one. Philox is not a cryptographic generator; the statement says so.
"""

import hashlib
import secrets

import numpy as np


def new_secret_seed() -> int:
    """Returns 128 bits from the operating system."""
    return secrets.randbits(128)


def _words(seed: int, purpose: str, indices: tuple[int, ...]) -> np.ndarray:
    if seed < 0:
        raise ValueError(f'seed={seed}: expected an integer of at least 0')
    text = '/'.join([str(seed), purpose, *map(str, indices)])
    return np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint64)


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """Returns the stream of one purpose, the same for the same arguments.

    Args:
        seed: secret seed of the run, at least 0.
        purpose: name of the use; streams of different names are independent.
        *indices: round number and the like.

    Raises:
        ValueError: for a negative seed.
    """
    return np.random.Generator(np.random.Philox(key=_words(seed, purpose, indices)[:2]))


def key(seed: int, purpose: str, *indices: int) -> bytes:
    """Returns 32 bytes, a key of its own for the same arguments; see `generator`."""
    return _words(seed, purpose, indices).tobytes()


def tf_seed(seed: int, purpose: str, *indices: int) -> np.ndarray:
    """Returns int64 [2], a key for TensorFlow's stateless generators."""
    return _words(seed, purpose, indices)[:2].view(np.int64).copy()

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


def key(seed: int, purpose: str, *indices: int) -> bytes:
    """Returns 32 bytes that only one purpose with these indices has.

    Raises:
        ValueError: for a negative seed.
    """
    if seed < 0:
        raise ValueError(f'seed={seed}: expected an integer of at least 0')
    text = '/'.join([str(seed), purpose, *map(str, indices)])
    return hashlib.sha256(text.encode()).digest()


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """Returns the stream of one purpose, the same for the same arguments.

    Args:
        seed: secret seed of the run, at least 0.
        purpose: name of the use; streams of different names are independent.
        *indices: round number and the like.

    Raises:
        ValueError: for a negative seed.
    """
    words = np.frombuffer(key(seed, purpose, *indices), np.uint64)
    return np.random.Generator(np.random.Philox(key=words[:2]))


def tf_seed(seed: int, purpose: str, *indices: int) -> np.ndarray:
    """Returns int64 [2], a key for TensorFlow's stateless generators."""
    return np.frombuffer(key(seed, purpose, *indices), np.int64)[:2].copy()

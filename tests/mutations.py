"""Damage for tests of readers: the same for the same seed."""

import contextlib
import os
import signal

import numpy as np


def mutated(content, random):
    """Bytes with one to three faults of a kind that disks, networks and people make."""
    damaged = bytearray(content)
    for _ in range(random.integers(1, 4)):
        start = int(random.integers(len(damaged) + 1))
        length = int(min(len(damaged) - start, 2 ** random.integers(0, 12)))
        kind = random.integers(7)
        if kind == 0:
            del damaged[start:]
        elif kind == 1:
            del damaged[start : start + length]
        elif kind == 2:
            damaged[start : start + length] = bytes(length)
        elif kind == 3:
            damaged[start : start + length] = b'\xff' * length
        elif kind == 4:
            damaged[start : start + length] = random.bytes(length)
        elif kind == 5:
            damaged[start:start] = damaged[start : start + length]
        elif start < len(damaged):
            damaged[start] ^= 1 << int(random.integers(8))
    return bytes(damaged)


@contextlib.contextmanager
def no_hang(seconds=30):
    """Raises where a block takes longer."""

    def late(*unused):
        raise AssertionError(f'hangs: more than {seconds} s')

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def one_line(*kinds):
    """Lets errors of these kinds pass whose message is one line that says something."""
    try:
        with no_hang():
            yield
    except kinds as error:
        assert str(error).strip() and '\n' not in str(error).strip(), repr(error)


def names_below(folder):
    """Paths of everything in a folder and below, without following links."""
    return {
        os.path.relpath(os.path.join(directory, name), folder)
        for directory, folders, names in os.walk(folder)
        for name in [*folders, *names]
    }


def generator(*key):
    """Random numbers, the same for the same key."""
    return np.random.default_rng(key)

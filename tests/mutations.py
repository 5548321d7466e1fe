"""Damage for tests of readers: the same for the same seed."""

import contextlib
import copy
import json
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
def no_hang(seconds=240):
    """Raises where a block takes longer, which has to be long for the busiest of machines."""

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


# What may stand where a value of JSON was.
STRANGE = (None, 'x', '', -1, 0, 10**400, 1e308, True, [], {}, [[]], {'x': None})


def changed(document):
    """Yields copies of a document of JSON, each with one value replaced or left out."""
    for keys in _places(document):
        for strange in STRANGE:
            yield _with(document, keys, strange)
        if keys:
            yield _with(document, keys, None, leave_out=True)


def damaged_texts(document):
    """Yields what files of such documents can hold, as bytes."""
    text = json.dumps(document)
    for other in changed(document):
        yield json.dumps(other).encode()
    for encoding in ('utf-16', 'utf-8-sig'):
        yield text.encode(encoding)
    yield from (b'', b'\xff\xfe\x00', b'null', b'[]', b'{', b'{"a":' * 10**5, b'[' * 10**5)
    yield text.replace('1', 'NaN').encode()
    yield text.replace('1', 'Infinity').encode()
    yield text.encode()[: len(text) // 2]
    yield text.encode() + b'x'
    yield text.encode().replace(b'"', b'"\0', 1)


def _places(value, keys=()):
    yield keys
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*keys, key))
    elif isinstance(value, list):
        for key, inner in enumerate(value):
            yield from _places(inner, (*keys, key))


def _with(document, keys, value, leave_out=False):
    if not keys:
        return value
    found = copy.deepcopy(document)
    around = found
    for key in keys[:-1]:
        around = around[key]
    if leave_out:
        del around[keys[-1]]
    else:
        around[keys[-1]] = value
    return found

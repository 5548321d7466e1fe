"""A keyed fingerprint of what a store holds, to know it again.

Keyed, so that whoever reads the fingerprint (a checkpoint's neighbour, a log) and not the
key cannot test guesses about the contents with it. Nothing is remembered: size and time
of a file can be the same for other contents, and the whole file is hashed at the speed of
memory (HMAC-SHA256, RFC 2104, on all cores).
"""

from collections.abc import Sequence
from concurrent import futures
import hmac
import json
import os
import pathlib

import numpy as np

from dp_fedemb import environment
from dp_fedemb import files

_BLOCK = 1 << 24
_LEAST_KEY_BYTES = 16


def of_contents(
    key: bytes,
    example_spec: str,
    user_names: Sequence[str],
    identity_names: Sequence[str],
    user_splits: np.ndarray,
    identities: np.ndarray,
    examples_path: pathlib.Path,
) -> str:
    """Returns 64 hexadecimal digits; see `UserStore.fingerprint`.

    Raises:
        ValueError: for a key of fewer than 16 bytes.
    """
    if len(key) < _LEAST_KEY_BYTES:
        raise ValueError(f'key of {len(key)} bytes: expected at least {_LEAST_KEY_BYTES}')
    names = json.dumps([example_spec, list(user_names), list(identity_names)])
    parts = [
        names.encode(),
        np.ascontiguousarray(user_splits, '<i8').tobytes(),
        np.ascontiguousarray(identities, '<i4').tobytes(),
    ]
    digests = [_digest(part, key) for part in parts]
    size = examples_path.stat().st_size
    with files.open_file(examples_path) as file:

        def block(start: int) -> bytes:
            return _digest(os.pread(file.fileno(), _BLOCK, start), key)

        with futures.ThreadPoolExecutor(environment.usable_cores()) as pool:
            digests += pool.map(block, range(0, size, _BLOCK))
    return _digest(b''.join(digests), key, b'whole').hex()


def _digest(content: bytes, key: bytes, level: bytes = b'part') -> bytes:
    return hmac.digest(hmac.digest(key, level, 'sha256'), content, 'sha256')

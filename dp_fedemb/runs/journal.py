"""Which sums were noised: written before the noise is drawn, so that none is used twice.

A round that is computed again after a crash normally gives the same integer sum, and
the same noise on it is the same release. Where it does not (another CPU, a GPU), the
same noise on another sum would give the difference of the sums away. So the digest of
the sum is on the disk before its noise is drawn, and another sum of the same round gets
fresh noise, under the number of the attempt, and is accounted as one more release.
"""

from collections.abc import Sequence
import contextlib
import errno
import hashlib
import hmac
import os
import pathlib
import re

from absl import logging
import numpy as np

from dp_fedemb import files

_OF_RUN = b'run '
_LINE = re.compile(rb'(\d+) (\d+) ([0-9a-f]{64})')


def is_of(path: pathlib.Path, key: bytes) -> bool:
    """Whether there is a journal at a path that can be read, and says that it has this key."""
    with contextlib.suppress(OSError):
        with files.open_file(path) as file:
            return file.readline(1000).rstrip(b'\n') == _first_line(key)
    return False


def _first_line(key: bytes) -> bytes:
    return _OF_RUN + hmac.digest(key, b'whose journal', 'sha256').hex().encode()


class Journal:
    """Append-only lines `round attempt digest` after one that tells the run, mode 0600.

    The digests are keyed: without the run's seed they tell nothing of the sums.
    """

    def __init__(self, path: pathlib.Path, key: bytes) -> None:
        """Reads what is there; a last line that a crash tore was never acted on.

        Raises:
            ValueError: for a line that nobody can have written.
        """
        self._path = path
        self._key = key
        self._digests: dict[int, list[str]] = {}
        self.lines = 0
        self._repeats = 0
        if not path.exists():
            return
        content = files.read_bytes(path)
        whole = content[: content.rfind(b'\n') + 1]
        if len(whole) != len(content):
            logging.warning(
                '%s: its last line was torn by a crash before it counted, and is dropped', path
            )
            os.truncate(path, len(whole))
            files.sync(path)
        lines = whole.split(b'\n')[:-1]
        # Versions before this one did not write it.
        named = bool(lines) and lines[0].startswith(_OF_RUN)
        if named and lines[0] != _first_line(key):
            raise ValueError(
                f"{path}: is another run's, so that a repeated round would not be noticed;"
                ' restore the file, or choose another output_dir'
            )
        for number, line in enumerate(lines[named:], start=1 + named):
            fields = _LINE.fullmatch(line)
            known = self._digests.setdefault(int(fields[1]), []) if fields else []
            if not fields or int(fields[2]) != len(known):
                raise ValueError(
                    f'{path}: line {number} is damaged, so that a repeated round would'
                    ' not be noticed; restore the file, or choose another output_dir'
                )
            self._add(known, fields[3].decode())

    @property
    def repeats(self) -> int:
        """Releases beyond one a round: sums of a round that were not the same."""
        return self._repeats

    @property
    def rounds(self) -> int:
        """Number of rounds up to the last one whose sum is noted."""
        return max(self._digests, default=-1) + 1

    def attempt(self, round_num: int, sums: Sequence[np.ndarray]) -> int:
        """Returns the number of a sum among those of its round, from 0.

        Args:
            round_num: from 0.
            sums: the exact sum, integer arrays.
        """
        digest = self._digest(round_num, sums)
        known = self._digests.get(round_num, [])
        return known.index(digest) if digest in known else len(known)

    def commit(self, round_num: int, sums: Sequence[np.ndarray]) -> int:
        """As `attempt`; when it returns, the sum is noted on the disk."""
        attempt = self.attempt(round_num, sums)
        known = self._digests.setdefault(round_num, [])
        if attempt == len(known):
            digest = self._digest(round_num, sums)
            new = not self._path.exists()
            empty = new or self._path.stat().st_size == 0
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                line = f'{round_num} {attempt} {digest}\n'.encode()
                if empty:
                    line = _first_line(self._key) + b'\n' + line
                if os.write(descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if new:
                files.sync(self._path.parent)
            self._add(known, digest)
        return attempt

    def _add(self, known: list[str], digest: str) -> None:
        self.lines += 1
        self._repeats += bool(known)
        known.append(digest)

    def _digest(self, round_num: int, sums: Sequence[np.ndarray]) -> str:
        digest = hmac.new(self._key, str(round_num).encode(), hashlib.sha256)
        for array in sums:
            array = np.ascontiguousarray(array)
            digest.update(f'{array.dtype.str}{array.shape}'.encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

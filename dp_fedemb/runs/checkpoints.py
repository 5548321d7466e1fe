"""States of a run on disk: whole, checked, readable by their owner alone.

A checkpoint is the arrays of the state from which the next round follows, and a record
of JSON values: the secret seed, the rows of the rounds that it makes durable, and what
the run was given. Its name appears when all of it is on the disk; a length and a
checksum tell a damaged one, in whose place the one before is used.

    dp_fedemb checkpoint 1\\n   length of the rest   SHA-256 of the rest
    length of the head   head (JSON)   the arrays' bytes
"""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import json
import pathlib
import re
import struct
from typing import Any, Optional

from absl import logging
import numpy as np

from dp_fedemb import files

_MAGIC = b'dp_fedemb checkpoint 1\n'
_LENGTH = struct.Struct('<Q')
_NAME = 'round_{:08d}.state'
_PATTERN = re.compile(r'round_(\d{8})\.state')
_KEPT = 2


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a run goes on from.

    Attributes:
        round_num: rounds that are done.
        arrays: the state's leaves, in their order.
        record: JSON values.
    """

    round_num: int
    arrays: tuple[np.ndarray, ...]
    record: Mapping[str, Any] = dataclasses.field(repr=False)


class Checkpoints:
    """The newest checkpoints of one run."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory

    def save(
        self, round_num: int, arrays: Sequence[np.ndarray], record: Mapping[str, Any]
    ) -> None:
        """Writes a checkpoint and drops all but the two newest."""
        files.make_private_directory(self._directory, parents=False)
        kept = [np.ascontiguousarray(array) for array in arrays]
        head = json.dumps(
            {
                'round': round_num,
                'arrays': [
                    [array.dtype.str, list(np.shape(a))] for a, array in zip(arrays, kept)
                ],
                'record': record,
            }
        ).encode()
        parts = [
            _LENGTH.pack(len(head)),
            head,
            *(memoryview(a.data).cast('B') for a in kept if a.size),
        ]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        length = sum(len(part) for part in parts)
        with files.appearing_file(self._path(round_num), 0o600) as draft:
            with open(draft, 'wb') as file:
                for part in (_MAGIC, _LENGTH.pack(length), digest.digest(), *parts):
                    file.write(part)
        self._prune()

    def rounds(self) -> list[int]:
        """Returns the rounds that have a checkpoint, in order."""
        if not self._directory.is_dir():
            return []
        found = (_PATTERN.fullmatch(path.name) for path in self._directory.iterdir())
        return sorted(int(match[1]) for match in found if match)

    @property
    def are_of_first_version(self) -> bool:
        """Whether there are only the directories that version 0.1.0 wrote."""
        if not self._directory.is_dir() or self.rounds():
            return False
        return any(path.is_dir() for path in self._directory.glob('round_*'))

    def load(self) -> Optional[Checkpoint]:
        """Returns the newest checkpoint that is whole; None if there is none at all.

        Raises:
            OSError: if one cannot be read, which says nothing of what is in it: an older one
                would repeat rounds that are released.
            ValueError: if all are damaged, or of a version that wrote other files.
        """
        rounds = self.rounds()
        for round_num in reversed(rounds):
            path = self._path(round_num)
            try:
                found = _read(path)
                if found.round_num != round_num:
                    raise ValueError(f'damaged: it is of round {found.round_num}')
            except files.NoFileError as error:
                logging.warning('%s: damaged: %s; the one before is used', path, error)
                continue
            except OSError as error:
                raise type(error)(
                    error.errno,
                    f'{error.strerror}: the newest checkpoint cannot be read; mend that and run'
                    ' the same command again',
                    str(path),
                ) from None
            except ValueError as error:
                logging.warning('%s: %s; the one before is used', path, error)
                continue
            if round_num == rounds[-1]:
                # A kill may have come between a checkpoint and this.
                self._prune()
            return found
        if rounds:
            raise ValueError(
                f'{self._directory}: every checkpoint is damaged; restore one, or choose'
                ' another output_dir'
            )
        if self.are_of_first_version:
            raise ValueError(
                f'{self._directory}: checkpoints of version 0.1.0, whose noise this version'
                ' does not draw; go on with that version, or begin in another output_dir with'
                f' pretrained={self._directory.parent}, whose epsilon is then added'
            )
        return None

    def _prune(self) -> None:
        for old in self.rounds()[:-_KEPT]:
            path = self._path(old)
            # What somebody has put in the place of one is not ours to remove.
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)

    def _path(self, round_num: int) -> pathlib.Path:
        return self._directory / _NAME.format(round_num)


def _read(path: pathlib.Path) -> Checkpoint:
    content = memoryview(files.read_bytes(path))
    begin = len(_MAGIC) + _LENGTH.size + hashlib.sha256().digest_size
    if len(content) < begin or content[: len(_MAGIC)] != _MAGIC:
        raise ValueError('damaged: it is not a checkpoint')
    (length,) = _LENGTH.unpack_from(content, len(_MAGIC))
    body = content[begin:]
    if len(body) != length:
        raise ValueError(f'damaged: {len(body)} bytes where {length} were written')
    if hashlib.sha256(body).digest() != content[len(_MAGIC) + _LENGTH.size : begin]:
        raise ValueError('damaged: its checksum does not fit')
    (head_length,) = _LENGTH.unpack_from(body, 0)
    offset = _LENGTH.size + head_length
    head = json.loads(bytes(body[_LENGTH.size : offset]))
    arrays = []
    for code, shape in head['arrays']:
        dtype = np.dtype(code)
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(body, dtype, count, offset) if count else np.zeros(0, dtype)
        arrays.append(array.reshape(shape).copy())
        offset += count * dtype.itemsize
    return Checkpoint(head['round'], tuple(arrays), head['record'])

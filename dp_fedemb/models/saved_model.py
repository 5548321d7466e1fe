"""Where the released model is, and which one it is."""

import hashlib
import os
import pathlib
from typing import Union

# Of the directory in that of a run.
NAME = 'saved_model'
# TensorFlow's own, which is another one each time that the same model is saved.
_NO_PART = 'fingerprint.pb'


def find(directory: Union[str, os.PathLike], argument: str) -> pathlib.Path:
    """Returns the SavedModel at a path, or the one in the run directory at that path.

    Args:
        directory: that of a SavedModel, or of a run.
        argument: what the caller calls it, for messages.

    Raises:
        FileNotFoundError: if there is none.
    """
    directory = pathlib.Path(directory).expanduser()
    if not directory.is_dir():
        raise FileNotFoundError(f'{argument}={str(directory)!r}: no such directory')
    for path in (directory, directory / NAME):
        if (path / 'saved_model.pb').exists():
            return path
    raise FileNotFoundError(
        f'{argument}={str(directory)!r}: no SavedModel here (neither saved_model.pb nor'
        f' {NAME}/ with it); give the output directory of bin/pretrain.py or bin/train.py,'
        ' which has one as soon as a checkpoint is saved, or a SavedModel'
    )


def fingerprint(path: pathlib.Path) -> str:
    """Returns what tells a SavedModel from every other: a hash of its files, in hex.

    A copy has the same one. A model that is saved again has another one, even with the
    same weights.

    Args:
        path: what `find` returned.
    """
    digest = hashlib.blake2b(digest_size=16)
    parts = (part for part in path.rglob('*') if part.is_file() and part.name != _NO_PART)
    for part in sorted(parts):
        with part.open('rb') as stream:
            of_part = hashlib.file_digest(stream, 'blake2b').digest()
        digest.update(hashlib.blake2b(str(part.relative_to(path)).encode()).digest() + of_part)
    return digest.hexdigest()

"""Where the released model is."""

import os
import pathlib
from typing import Union

# Of the directory in that of a run.
NAME = 'saved_model'


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

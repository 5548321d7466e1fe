"""The SavedModel itself, for TensorFlow Serving and whoever has TensorFlow."""

import os
import pathlib
import shutil

import numpy as np

from dp_fedemb.export import runtime
from dp_fedemb.models import saved_model as saved_model_lib


def write(saved_model: pathlib.Path, path: pathlib.Path, calibration: np.ndarray) -> None:
    """Copies the SavedModel; see `runtime.Format`.

    Raises:
        ValueError: for a link, which could lead to any file of this machine.
    """
    del calibration
    path.mkdir()
    # By name: whatever else somebody has put there stays there. Not copytree, whose error
    # is a list of errors.
    for part in saved_model_lib.parts(saved_model):
        name = part.relative_to(saved_model)
        if part.is_symlink():
            raise ValueError(
                f'model={str(saved_model)!r}: {name} is a link to {os.readlink(part)!r}, whose'
                ' content would be given away; copy the model without links (cp -rL) if that'
                ' is meant'
            )
        if part.is_dir():
            (path / name).mkdir()
        else:
            shutil.copyfile(part, path / name)


def load(path: pathlib.Path) -> runtime.Embed:
    """Loads it with TensorFlow; see `runtime.Format`."""
    function, name, _ = runtime.signature(path)

    def embed(examples: np.ndarray) -> np.ndarray:
        import tensorflow as tf

        return function(**{name: tf.constant(examples)})['embeddings'].numpy()

    return embed

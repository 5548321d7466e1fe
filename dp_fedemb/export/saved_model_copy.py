"""The SavedModel itself, for TensorFlow Serving and whoever has TensorFlow."""

import pathlib
import shutil

import numpy as np

from dp_fedemb.export import runtime
from dp_fedemb.models import saved_model as saved_model_lib


def write(saved_model: pathlib.Path, path: pathlib.Path, calibration: np.ndarray) -> None:
    """Copies the SavedModel; see `runtime.Format`."""
    del calibration
    path.mkdir()
    # By name: whatever else somebody has put there stays there.
    for name in saved_model_lib.PARTS:
        part = saved_model / name
        # Not copytree, whose error is a list of errors.
        for found in sorted([part, *part.rglob('*')]):
            copy = path / found.relative_to(saved_model)
            if found.is_dir():
                copy.mkdir()
            elif found.exists():
                shutil.copyfile(found, copy)


def load(path: pathlib.Path) -> runtime.Embed:
    """Loads it with TensorFlow; see `runtime.Format`."""
    function, name, _ = runtime.signature(path)

    def embed(examples: np.ndarray) -> np.ndarray:
        import tensorflow as tf

        return function(**{name: tf.constant(examples)})['embeddings'].numpy()

    return embed

"""What a format must be able to do."""

from collections.abc import Callable
import dataclasses
import pathlib
from typing import Any, Optional

import numpy as np

# Examples [n, *shape] -> embeddings [n, D].
Embed = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Format:
    """A file format of models, and the runtime that reads it.

    Attributes:
        file: name of the file, or of the directory.
        about: one line for people.
        write: makes the file: `write(saved_model, path, calibration)`.
        load: reads the file with the format's own runtime.
        exact: whether its embeddings are those of the SavedModel to `TOLERANCE`.
        needs: package that it takes beside TensorFlow.
    """

    file: str
    about: str
    write: Callable[[pathlib.Path, pathlib.Path, np.ndarray], None]
    load: Callable[[pathlib.Path], Embed]
    exact: bool = True
    needs: Optional[str] = None


def signature(path: pathlib.Path) -> tuple[Any, str, Any]:
    """Returns the function of a SavedModel, the name and the spec of its input.

    The function has to be kept as long as it is used: the model's weights live with it.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    function = loaded.signatures['serving_default']
    function.kept_alive = loaded
    ((name, spec),) = function.structured_input_signature[1].items()
    return function, name, spec

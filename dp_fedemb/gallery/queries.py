"""A few pictures that somebody asks about."""

from collections.abc import Callable, Sequence
import os
import pathlib
from typing import Union

import numpy as np

from dp_fedemb import evaluation
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.data.images import reading
from dp_fedemb.evaluation import inference


def embed(
    model: inference.SavedEmbeddingModel,
    paths: Sequence[Union[str, 'os.PathLike[str]']],
    preprocessing: preprocessing_lib.Preprocessing,
    on_note: Callable[[str], None] = lambda note: None,
) -> np.ndarray:
    """Embeds a few pictures that somebody named: float32 [n, D].

    Args:
        model: of `evaluation.load_model`.
        paths: of the pictures.
        preprocessing: to the model's image shape.
        on_note: called with what is worth noting, as `indexing.index` returns it.

    Raises:
        ValueError: naming the first that cannot be read.
    """
    files = [pathlib.Path(path).expanduser() for path in paths]
    for path in files:
        if not path.is_file():
            raise FileNotFoundError(f'picture {str(path)!r}: no such file, or none to read')
    pixels, several = [], []

    def read(path: pathlib.Path) -> np.ndarray:
        return preprocessing(path, lambda: several.append(str(path)))

    for batch in reading.decoded(files, read):
        for path, image, reason in batch:
            if image is None:
                raise ValueError(
                    f'picture {str(path)!r}: cannot be read ({reason}); choose another one'
                )
            pixels.append(image)
    for note in reading.several_frames(several):
        on_note(note)
    return evaluation.embed(model, np.stack(pixels))

"""Embeds a folder of pictures of any size and mode."""

from collections.abc import Callable
import dataclasses
import pathlib
from typing import Any, Optional

import numpy as np

from dp_fedemb.data.images import decoding
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.evaluation import inference

SUFFIXES = frozenset(
    ['.bmp', '.gif', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp']
)


@dataclasses.dataclass(frozen=True)
class EmbeddedFolder:
    """What was in a folder.

    Attributes:
        embeddings: float32 [n, D].
        paths: of the embedded pictures, relative to the folder, sorted.
        broken: pictures that could not be read, each with the reason.
    """

    embeddings: np.ndarray
    paths: list[str]
    broken: list[str]


def picture_paths(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the pictures in a folder and below, sorted.

    Raises:
        FileNotFoundError: if there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'input={str(folder)!r}: no such directory')
    paths = sorted(p for p in folder.rglob('*') if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise FileNotFoundError(
            f'input={str(folder)!r}: no picture in it or below (expected files named'
            f' {", ".join(sorted(SUFFIXES))})'
        )
    return paths


def embed_folder(
    model: Callable[[np.ndarray], Any],
    folder: pathlib.Path,
    preprocessing: preprocessing_lib.Preprocessing,
    batch_size: int = 512,
    max_broken: int = 0,
    on_batch: Optional[Callable[[int], None]] = None,
) -> EmbeddedFolder:
    """Embeds every picture; one batch of them is in memory at a time.

    Args:
        model: see `inference.embed`.
        folder: pictures in it and below are taken, by the ends of their names.
        preprocessing: to the model's image shape.
        batch_size: pictures in memory at once.
        max_broken: pictures that cannot be read are listed and skipped; one more than
            this many stops the work.
        on_batch: called with the number of pictures of each batch that is done.

    Raises:
        FileNotFoundError: for a folder without pictures.
        ValueError: for too many broken pictures, or if no picture can be read.
    """
    embeddings, kept, broken = [], [], decoding.Broken(max_broken)
    for batch in decoding.decoded(picture_paths(folder), preprocessing, batch_size):
        images = []
        for path, image, reason in batch:
            name = str(path.relative_to(folder))
            if image is None:
                broken.add(name, reason)
            else:
                images.append(image)
                kept.append(name)
        if images:
            embeddings.append(inference.embed(model, np.stack(images), batch_size))
        if on_batch is not None:
            on_batch(len(batch))
    if not kept:
        raise ValueError(
            f'input={str(folder)!r}: none of {len(broken.lines)} pictures is readable'
        )
    return EmbeddedFolder(np.concatenate(embeddings), kept, broken.lines)

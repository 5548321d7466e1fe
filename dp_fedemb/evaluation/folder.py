"""Embeds a folder of pictures of any size and mode."""

from collections.abc import Callable
import dataclasses
import pathlib
from typing import Any, Optional, Union

import numpy as np

from dp_fedemb.data.images import listing as listing_lib
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.data.images import reading
from dp_fedemb.evaluation import inference


@dataclasses.dataclass(frozen=True)
class EmbeddedFolder:
    """What was in a folder.

    Attributes:
        embeddings: float32 [n, D].
        paths: of the embedded pictures, relative to the folder, sorted.
        broken: pictures that could not be read, each with the reason.
        notes: what else is in the folder and was left out, by reason, and the pictures of
            which the first frame was taken.
    """

    embeddings: np.ndarray
    paths: list[str]
    broken: list[str]
    notes: tuple[str, ...] = ()


def embed_folder(
    model: Callable[[np.ndarray], Any],
    folder: Union[pathlib.Path, listing_lib.Listing],
    preprocessing: preprocessing_lib.Preprocessing,
    batch_size: int = 512,
    max_broken: int = 0,
    on_batch: Optional[Callable[[int], None]] = None,
) -> EmbeddedFolder:
    """Embeds every picture; one batch of them is in memory at a time.

    Args:
        model: see `inference.embed`.
        folder: or its listing, where that is known already.
        preprocessing: to the model's image shape.
        batch_size: pictures in memory at once.
        max_broken: pictures that cannot be read are listed and skipped; one more than
            this many stops the work.
        on_batch: called with the number of pictures of each batch that is done.

    Raises:
        FileNotFoundError, PermissionError: see `listing.pictures`.
        ValueError: for too many broken pictures, or if no picture can be read.
    """
    listing = folder
    if not isinstance(listing, listing_lib.Listing):
        listing = listing_lib.pictures(listing, 'input')
    embeddings, kept, broken = [], [], reading.Broken(max_broken)
    several: list[str] = []

    def read(path: pathlib.Path) -> np.ndarray:
        return preprocessing(path, lambda: several.append(str(path.relative_to(listing.root))))

    for batch in reading.decoded(listing.paths, read, batch_size):
        images = []
        for path, image, reason in batch:
            name = str(path.relative_to(listing.root))
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
            f'input={str(listing.root)!r}: none of {len(broken.lines)} pictures is readable'
        )
    notes = (*listing.notes, *reading.several_frames(several))
    return EmbeddedFolder(np.concatenate(embeddings), kept, broken.lines, notes)

"""The index of a folder: one file with an embedding of every picture.

It is replaced as a whole (`dp_fedemb.files`), so what stands at its path is always an
index that was complete when it was written; what is not was damaged later, and is
refused. It names the model by its fingerprint: embeddings of two models have nothing to
do with each other, and nothing in the numbers would show it.
"""

from collections.abc import Mapping
import dataclasses
import json
import os
import pathlib
from typing import Any, Union
import zipfile
import zlib

import numpy as np

from dp_fedemb import files
from dp_fedemb import host_error

_FORMAT = 'dp_fedemb index 1'
# What NumPy and zipfile raise for a file that is none, or a damaged one.
_DAMAGED = (
    *(OSError, ValueError, KeyError, IndexError, EOFError, TypeError, AttributeError),
    *(MemoryError, OverflowError, RuntimeError, zipfile.BadZipFile, zlib.error),
)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture as it was when it was embedded.

    Attributes:
        state: size in bytes and times of the last changes of content and of file, in
            nanoseconds: while it is the same the file is not read.
        digest: of the content, hex.
    """

    state: tuple[int, int, int]
    digest: str


@dataclasses.dataclass(frozen=True)
class Index:
    """The embeddings of a folder.

    Attributes:
        folder: absolute path.
        model: fingerprint of the model, see `models.saved_model.fingerprint`.
        preprocessing: what was done to the pictures, as JSON values.
        pictures: by path relative to the folder, in the order of the rows.
        embeddings: float32 [n, D], each of norm 1 (or 0).
        broken: pictures that could not be read, by path, with the reason.
    """

    folder: str
    model: str
    preprocessing: Mapping[str, Any]
    pictures: Mapping[str, Picture]
    embeddings: np.ndarray
    broken: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def paths(self) -> list[str]:
        """Of the pictures, relative to the folder, in the order of the rows."""
        return list(self.pictures)

    def check_model(self, fingerprint: str, path: Union[str, 'os.PathLike[str]']) -> None:
        """Raises ValueError unless the index is of this model.

        Args:
            fingerprint: of the model at hand.
            path: of the index, for the message.
        """
        if self.model != fingerprint:
            raise ValueError(
                f'index={str(path)!r}: was made with another model (fingerprint'
                f' {self.model[:12]}, this one has {fingerprint[:12]}); choose that model, or'
                ' index the folder into another file'
            )


def write(path: pathlib.Path, index: Index) -> None:
    """Writes an index in one step.

    Raises:
        OSError: if it cannot be written; what stood at the path is untouched.
    """
    about = {
        'format': _FORMAT,
        'folder': index.folder,
        'model': index.model,
        'preprocessing': dict(index.preprocessing),
        'paths': index.paths,
        'digests': [picture.digest for picture in index.pictures.values()],
        'broken': dict(index.broken),
    }
    states = np.array([p.state for p in index.pictures.values()], np.int64).reshape(-1, 3)
    # As bytes: names may hold what is no valid text.
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with files.appearing_file(path, 0o600) as draft, draft.open('wb') as stream:
        np.savez(stream, about=text, states=states, embeddings=index.embeddings)


def read(path: pathlib.Path) -> Index:
    """Reads an index.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if the file is damaged, or no index.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f'index={str(path)!r}: is no file; name one')
    if not path.exists():
        raise FileNotFoundError(
            f'index={str(path)!r}: no such file; make it with bin/embed.py index FOLDER'
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(arrays['about'].tobytes())
            states, embeddings = arrays['states'], arrays['embeddings']
        if about['format'] != _FORMAT:
            raise ValueError(f'it is of format {about["format"]!r}, expected {_FORMAT!r}')
        paths, digests = about['paths'], about['digests']
        if not len(paths) == len(digests) == len(states) == len(embeddings):
            raise ValueError('its parts are not of one length')
        return Index(
            about['folder'],
            about['model'],
            about['preprocessing'],
            {
                name: Picture((int(state[0]), int(state[1]), int(state[2])), digest)
                for name, state, digest in zip(paths, states, digests)
            },
            embeddings,
            about['broken'],
        )
    except _DAMAGED as error:
        if host_error.of_the_host(error):
            raise
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise ValueError(
            f'index={str(path)!r}: no index, or a damaged one ({reason}); choose another file,'
            ' or, if it was one, delete it and index the folder again'
        ) from None

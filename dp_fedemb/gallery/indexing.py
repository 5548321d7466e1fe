"""Makes the index of a folder, or brings it up to date."""

from collections.abc import Callable
import dataclasses
import pathlib
import time
from typing import Optional, Union

import numpy as np

from dp_fedemb import evaluation
from dp_fedemb import files
from dp_fedemb.data.images import decoding
from dp_fedemb.data.images import listing as listing_lib
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.data.images import reading
from dp_fedemb.evaluation import inference
from dp_fedemb.gallery import index_file
from dp_fedemb.models import saved_model

_Row = tuple[index_file.Picture, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Indexed:
    """What indexing found.

    Attributes:
        index: as it is on the disk now.
        added: pictures that were not in the index before.
        changed: pictures whose content was another one.
        removed: pictures of the index that are not in the folder any more, or cannot be
            read any more.
        embedded: pictures that went through the model; a copy of one that is known, under
            whatever name, does not.
        notes: what was left out of the folder, by reason, and the pictures that were read now
            and have further frames, which are left out.
    """

    index: index_file.Index
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    embedded: int
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Read:
    """A picture's file; `pixels` is None where its embedding is known."""

    picture: index_file.Picture
    pixels: Optional[np.ndarray]


def index(
    model: inference.SavedEmbeddingModel,
    folder: Union[files.PathLike, listing_lib.Listing],
    path: Optional[files.PathLike],
    preprocessing: Optional[preprocessing_lib.Preprocessing] = None,
    batch_size: int = 256,
    max_broken: int = 0,
    save_seconds: float = 30.0,
    on_pictures: Optional[Callable[[int], None]] = None,
) -> Indexed:
    """Embeds the pictures of a folder that its index does not have yet.

    A picture is known by size and times, and where these differ by its content. What is
    done is saved every `save_seconds`, and when the work is interrupted.

    Args:
        model: of `evaluation.load_model`.
        folder: or its listing, where that is known already.
        path: of the index, made or brought up to date; None keeps it in memory.
        preprocessing: to the model's image shape; that which the model says by default.
        batch_size: pictures in memory at once.
        max_broken: pictures that cannot be read are skipped and noted in the index; one
            more than this many stops the work.
        save_seconds: see above.
        on_pictures: called with the number of pictures that are done since the last call.

    Raises:
        FileNotFoundError, PermissionError: see `listing.pictures`.
        ValueError: for an index of another model, folder or preprocessing, a damaged one,
            or too many broken pictures.
        OSError: if the index cannot be written.
    """
    if not isinstance(folder, listing_lib.Listing):
        folder = listing_lib.pictures(pathlib.Path(folder).expanduser(), 'folder')
    preprocessing = preprocessing or preprocessing_of(model)
    work = _Work(model.fingerprint, folder, path, preprocessing, save_seconds)
    todo = work.todo(on_pictures)
    broken = reading.Broken(max_broken)
    embedded = 0
    try:
        for batch in reading.decoded(todo, work.read, batch_size):
            fresh, pixels = [], []
            for name, read, reason in batch:
                if read is None:
                    work.broken[name] = reason
                    broken.add(name, reason)
                elif read.pixels is None:
                    work.add(name, read.picture)
                else:
                    fresh.append((name, read.picture))
                    pixels.append(read.pixels)
            if fresh:
                embeddings = evaluation.embed(model, np.stack(pixels), batch_size)
                for (name, picture), embedding in zip(fresh, embeddings):
                    work.add(name, picture, embedding)
                embedded += len(fresh)
            work.save_sometimes()
            if on_pictures is not None:
                on_pictures(len(batch))
    finally:
        # Also when somebody pressed Ctrl-C, or after one broken picture too many.
        result = work.save()
    if not len(result.embeddings):
        raise ValueError(
            f'folder={result.folder!r}: none of {len(broken.lines):,} pictures is readable'
        )
    old = work.before.pictures if work.before else {}
    new = result.pictures
    return Indexed(
        result,
        added=tuple(name for name in new if name not in old),
        changed=tuple(n for n in new if n in old and old[n].digest != new[n].digest),
        removed=tuple(name for name in old if name not in new),
        embedded=embedded,
        notes=(*folder.notes, *reading.several_frames(work.several)),
    )


class _Work:
    """The rows that are known so far.

    Attributes:
        before: the index as it was found; None if there was none.
        broken: pictures that cannot be read, with the reason.
        several: pictures with further frames, of which the first is taken.
    """

    def __init__(
        self,
        model: str,
        listing: listing_lib.Listing,
        path: Optional[files.PathLike],
        preprocessing: preprocessing_lib.Preprocessing,
        save_seconds: float,
    ) -> None:
        self._model, self._listing, self._preprocessing = model, listing, preprocessing
        self._path = None if path is None else pathlib.Path(path).expanduser().absolute()
        self._save_seconds = save_seconds
        self._saved = time.monotonic()
        self._unsaved = False
        self.broken: dict[str, str] = {}
        self.several: list[str] = []
        self.before = self._read_before()
        self._rows: dict[str, _Row] = {}
        # Content -> embedding: whatever has been embedded once.
        self._known: dict[str, np.ndarray] = {}
        if self.before is not None:
            digests = [picture.digest for picture in self.before.pictures.values()]
            self._known = dict(zip(digests, self.before.embeddings))

    def _read_before(self) -> Optional[index_file.Index]:
        if self._path is None or not self._path.exists():
            return None
        before = index_file.read(self._path)
        before.check_model(self._model, self._path)
        where = f'index={str(self._path)!r}'
        if before.folder != self._folder:
            raise ValueError(
                f'{where}: is of the folder {before.folder!r}, not of {self._folder!r}; choose'
                ' another file, or delete this one'
            )
        check_preprocessing(before, self._preprocessing, self._path)
        return before

    @property
    def _folder(self) -> str:
        return str(self._listing.root.absolute())

    def todo(self, on_pictures: Optional[Callable[[int], None]]) -> list[str]:
        """Takes over what is unchanged; returns the names of the other pictures."""
        old: dict[str, _Row] = {}
        if self.before is not None:
            pictures = self.before.pictures
            old = dict(zip(pictures, zip(pictures.values(), self.before.embeddings)))
        todo = []
        for name in self._listing.names:
            if name in old and old[name][0].state == state_of(self._listing.root / name):
                self._rows[name] = old[name]
            else:
                todo.append(name)
        self._unsaved = self.before is None or len(self._rows) < len(old)
        if on_pictures is not None:
            on_pictures(len(self._rows))
        return todo

    def read(self, name: str) -> _Read:
        """Reads a picture; called in threads."""
        path = self._listing.root / name
        # Before the content, so that a change in between is seen the next time.
        state = state_of(path)
        with decoding.opened(path) as (file, digest):
            if state is None:
                raise FileNotFoundError('vanished meanwhile')
            picture = index_file.Picture(state, digest)
            if digest in self._known:
                return _Read(picture, None)
            pixels = self._preprocessing(file, lambda: self.several.append(name))
            return _Read(picture, pixels)

    def add(
        self, name: str, picture: index_file.Picture, embedding: Optional[np.ndarray] = None
    ) -> None:
        """Adds a picture; without an embedding, one whose content is known."""
        if embedding is None:
            embedding = self._known[picture.digest]
        self._known[picture.digest] = embedding
        self._rows[name] = picture, embedding
        self._unsaved = True

    def save_sometimes(self) -> None:
        """Saves if that is some time ago."""
        if time.monotonic() - self._saved >= self._save_seconds:
            self.save()

    def save(self) -> index_file.Index:
        """Writes what is known, if that is something new; returns it."""
        names = [name for name in self._listing.names if name in self._rows]
        rows = [self._rows[name][1] for name in names]
        result = index_file.Index(
            self._folder,
            self._model,
            self._preprocessing.record(),
            {name: self._rows[name][0] for name in names},
            np.stack(rows) if rows else np.empty((0, 0), np.float32),
            self.broken,
        )
        broken_before = self.before.broken if self.before else {}
        unsaved = self._unsaved or dict(broken_before) != self.broken
        # Not again at the end if it fails: the second error would hide the first.
        self._unsaved, self._saved = False, time.monotonic()
        if self._path is not None and unsaved and rows:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            index_file.write(self._path, result)
        return result


def preprocessing_of(model: inference.SavedEmbeddingModel) -> preprocessing_lib.Preprocessing:
    """Returns how the model's pictures are prepared; the default where it does not say."""
    return saved_model.preprocessing_of(model.path, model.example_spec.shape)


def check_preprocessing(
    of_index: index_file.Index,
    preprocessing: preprocessing_lib.Preprocessing,
    path: files.PathLike,
) -> None:
    """Raises ValueError unless the pictures of an index were prepared in this way."""
    asked = preprocessing.record()
    for name in sorted({*asked, *of_index.preprocessing}):
        old, new = of_index.preprocessing.get(name), asked.get(name)
        if old != new:
            raise ValueError(
                f'index={str(path)!r}: was made with {name}={old!r}, not {new!r}; ask with'
                ' the same one, or index the folder into another file'
            )


def state_of(path: pathlib.Path) -> Optional[tuple[int, int, int]]:
    """Returns size and times of a file, see `index_file.Picture`; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns

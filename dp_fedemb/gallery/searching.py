"""Nearest neighbours of pictures in an index, exactly."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import os
import pathlib
from typing import Any, Optional

import numpy as np

from dp_fedemb import files
from dp_fedemb import validate
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.evaluation import inference
from dp_fedemb.gallery import index_file
from dp_fedemb.gallery import indexing
from dp_fedemb.gallery import queries as queries_lib

# Similarities that are held at once, 4 bytes each.
_BLOCK_ENTRIES = 1 << 23


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A picture of the index.

    Attributes:
        path: relative to the index's folder.
        score: cosine of the two embeddings, in [-1, 1].
        note: what has become of the picture since it was indexed: 'gone', 'changed', or
            nothing.
    """

    path: str
    score: float
    note: str = ''


@dataclasses.dataclass(frozen=True)
class Found:
    """The nearest neighbours of one picture.

    Attributes:
        query: its path, as it was given.
        neighbours: the most similar first; the query itself is not among them.
    """

    query: str
    neighbours: tuple[Neighbour, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {
            'query': self.query,
            'neighbours': [dataclasses.asdict(neighbour) for neighbour in self.neighbours],
        }


def search(
    model: inference.SavedEmbeddingModel,
    index: index_file.Index,
    pictures: Sequence[files.PathLike],
    preprocessing: Optional[preprocessing_lib.Preprocessing] = None,
    k: int = 10,
    on_note: Callable[[str], None] = lambda note: None,
) -> list[Found]:
    """Finds the nearest neighbours of pictures; every similarity is computed.

    Args:
        model: that the index was made with.
        index: of `index_file.read` or `indexing.index`.
        pictures: paths. One that is in the index is not compared with itself.
        preprocessing: that the index was made with; what the model says by default.
        k: neighbours of each; fewer where there are fewer.
        on_note: called with what is worth noting of the pictures.

    Raises:
        FileNotFoundError: if there is no such picture.
        ValueError: for a picture that cannot be read, or an index of another model or
            preprocessing.
    """
    validate.positive(k=k)
    index.check_model(model.fingerprint, index.folder)
    preprocessing = preprocessing or indexing.preprocessing_of(model)
    indexing.check_preprocessing(index, preprocessing, index.folder)
    queries = queries_lib.embed(model, pictures, preprocessing, on_note)
    own = _rows_by_file(index)
    found = []
    size = max(1, _BLOCK_ENTRIES // len(index.embeddings))
    for start in range(0, len(queries), size):
        scores = queries[start : start + size] @ index.embeddings.T
        for path, row in zip(pictures[start : start + size], scores):
            row[own.get(os.path.realpath(pathlib.Path(path).expanduser()), [])] = -np.inf
            best = _best(row, k)
            neighbours = (_neighbour(index, int(i), float(row[i])) for i in best)
            found.append(Found(os.fspath(path), tuple(neighbours)))
    return found


def _rows_by_file(index: index_file.Index) -> Mapping[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, path in enumerate(index.paths):
        rows.setdefault(os.path.realpath(os.path.join(index.folder, path)), []).append(row)
    return rows


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """Places of the k largest that are finite, the largest first, equals by place."""
    k = min(k, int(np.isfinite(scores).sum()))
    if not k:
        return np.empty(0, np.int64)
    least = np.partition(scores, -k)[-k]
    candidates = np.nonzero(scores >= least)[0]
    order = np.argsort(-scores[candidates], kind='stable')
    return candidates[order[:k]]


def _neighbour(index: index_file.Index, row: int, score: float) -> Neighbour:
    path = index.paths[row]
    state = indexing.state_of(pathlib.Path(index.folder, path))
    known = index.pictures[path].state
    note = 'gone' if state is None else '' if state[:2] == known[:2] else 'changed'
    return Neighbour(path, min(1.0, max(-1.0, score)), note)

"""Groups the pictures of an index: those of one identity, as far as the model can tell.

Average linkage: two groups become one as long as the mean similarity of their pairs is at
least the threshold (Sokal and Michener 1958). Pictures without a pair above the threshold
between them are never joined, so the connected components of such pairs are grouped one
by one, which gives the same groups in less memory.
"""

import csv
import dataclasses
import io
import os
import pathlib

import numpy as np
from scipy import sparse
from scipy.cluster import hierarchy
from scipy.sparse import csgraph

from dp_fedemb import files
from dp_fedemb.gallery import index_file

# Similarities that are held at once, 4 bytes each, and some more for those that count.
_BLOCK_ENTRIES = 1 << 23
# Pictures of a component; SciPy holds 8 bytes a pair three times: 1.2 GB.
_MOST_IN_COMPONENT = 10_000
# In a folder of links, of pictures that are alone in their group.
ALONE = 'alone'


@dataclasses.dataclass(frozen=True)
class Group:
    """Pictures that were put together.

    Attributes:
        paths: relative to the index's folder, the most typical one first.
        typical: similarity of each to the mean of the group.
    """

    paths: tuple[str, ...]
    typical: tuple[float, ...]


def cluster(index: index_file.Index, threshold: float) -> list[Group]:
    """Groups the pictures of an index.

    Args:
        index: of `index_file.read` or `indexing.index`.
        threshold: least mean similarity of the pairs between two groups that are joined.

    Returns:
        The groups, the largest first; every picture is in one.

    Raises:
        ValueError: for a threshold outside [-1, 1], or one so low that a group of more
            pictures than fit into memory would come about.
    """
    labels = group_labels(index.embeddings, threshold)
    rows_of = [np.nonzero(labels == label)[0] for label in range(labels.max() + 1)]
    groups = []
    for rows in sorted(rows_of, key=lambda rows: (-len(rows), rows[0])):
        vectors = index.embeddings[rows].astype(np.float64)
        mean = vectors.mean(axis=0)
        typical = vectors @ mean / (np.linalg.norm(mean) or 1)
        order = np.argsort(-typical, kind='stable')
        groups.append(
            Group(
                tuple(index.paths[rows[place]] for place in order),
                tuple(min(1.0, float(typical[place])) for place in order),
            )
        )
    return groups


def group_labels(embeddings: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the number of each embedding's group, int64 [n]; see `cluster`.

    Args:
        embeddings: float32 [n, D], each of norm 1 (or 0).
        threshold: see `cluster`.
    """
    if not -1 <= threshold <= 1:
        raise ValueError(f'threshold={threshold}: expected a similarity in [-1, 1]')
    components = _components(embeddings, threshold)
    sizes = np.bincount(components)
    if sizes.max() > _MOST_IN_COMPONENT:
        raise ValueError(
            f'threshold={threshold:.4g}: {sizes.max():,} pictures hang together by pairs of at'
            f' least this similarity, more than the {_MOST_IN_COMPONENT:,} that can be grouped'
            ' at once; choose a higher one, or a smaller --far'
        )
    labels = np.empty(len(embeddings), np.int64)
    count = 0
    # By component, without looking for each one in all pictures.
    order = np.argsort(components, kind='stable')
    for rows in np.split(order, np.cumsum(sizes)[:-1]):
        inside = np.ones(1, np.int64)
        if len(rows) > 1:
            tree = hierarchy.linkage(_distances(embeddings[rows]), 'average')
            inside = hierarchy.fcluster(tree, 1 - threshold, 'distance')
        labels[rows] = inside + (count - 1)
        count += inside.max()
    return labels


def csv_text(groups: list[Group]) -> str:
    """Returns a row for each picture: group (from 1), pictures in it, path, typical."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['group', 'pictures', 'path', 'typical'])
    for number, group in enumerate(groups, start=1):
        for path, typical in zip(group.paths, group.typical):
            writer.writerow([number, len(group.paths), path, f'{typical:.4f}'])
    return text.getvalue()


def write_links(directory: pathlib.Path, groups: list[Group], folder: str) -> None:
    """Writes a folder of folders of symbolic links, one for each group.

    Args:
        directory: must not exist; it appears whole. Pictures that are alone are in
            `ALONE`.
        groups: of `cluster`.
        folder: of the index.

    Raises:
        FileExistsError: if there is something at the path.
    """
    digits = len(str(len(groups)))
    with files.appearing_directory(directory, mode=0o700) as draft:
        for number, group in enumerate(groups, start=1):
            alone = len(group.paths) == 1
            into = draft / (ALONE if alone else f'group_{number:0{digits}}')
            for path in group.paths:
                # Folders are kept, since pictures of two may have one name.
                link = into / path
                link.parent.mkdir(parents=True, exist_ok=True)
                os.symlink(os.path.join(folder, path), link)


def _components(embeddings: np.ndarray, threshold: float) -> np.ndarray:
    """Numbers the components of the graph of pairs at or above the threshold."""
    count = len(embeddings)
    labels = np.arange(count)
    # float32 products are off by less.
    least = threshold - 1e-6
    size = max(1, _BLOCK_ENTRIES // count)
    for start in range(0, count, size):
        block = embeddings[start : start + size] @ embeddings[start:].T
        rows, columns = np.nonzero(block >= least)
        edges = labels[rows + start], labels[columns + start]
        graph = sparse.coo_matrix((np.ones(len(rows), bool), edges), (count, count))
        _, merged = csgraph.connected_components(graph, directed=False)
        labels = merged[labels]
    return np.unique(labels, return_inverse=True)[1]


def _distances(vectors: np.ndarray) -> np.ndarray:
    """Returns 1 - similarity of all pairs, condensed as SciPy orders them."""
    vectors = vectors.astype(np.float64)
    rows = [1 - vectors[row + 1 :] @ vectors[row] for row in range(len(vectors))]
    # Of the same picture twice a rounding error below 0, which SciPy refuses.
    return np.maximum(np.concatenate(rows), 0)

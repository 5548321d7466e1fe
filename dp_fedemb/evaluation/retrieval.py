"""Exact retrieval: every image is a query, all other images are the reference.

Conventions:

*   Leave one out: an image is never among its own results.
*   Relevant for a query are the other images of its identity; R is their number.
*   An image that is alone in its identity has nothing to find: it is no query, but
    stays in the reference, where it distracts others.
*   Results are ranked by similarity (`pair_scores`); among equal ones, those that are
    not relevant come first, so that a collapsed model gains nothing by ties.
*   Figures are means over queries.

recall@k is the fraction of queries with something relevant among the k first
(precision@1 for k = 1). R-precision is the relevant fraction of the R first. MAP@R
averages, over the R first ranks, the precision at the relevant ones and 0 at the
others (Musgrave et al. 2020, arXiv 2003.08505). mAP@100 sums the precision at the
relevant ones of the 100 first ranks and divides by min(100, R), the convention of the
Google Landmarks retrieval challenge (Weyand et al. 2020, arXiv 2004.01804).
"""

import atexit
from collections.abc import Iterator, Sequence
import dataclasses
import functools
from typing import Any

import numpy as np

from dp_fedemb import validate
from dp_fedemb.evaluation import all_pairs

KS = (1, 5, 10)
_MAP_DEPTH = 100
# Similarities that are held at once, 4 bytes each, a few times over.
_BLOCK_ENTRIES = 1 << 23


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """What the nearest neighbours say.

    Attributes:
        recall_at: recall@k by k.
        r_precision: see the module.
        map_at_r: see the module.
        map_at_100: see the module.
        queries: images that have something to find.
        lone_images: images that have not.
        by_identity: for each identity with a query, in the order of `identities`, the
            mean over its queries of 'precision@1', 'r_precision' and 'map@r'.
        identities: those identities, sorted.

    All figures are NaN if there is no query.
    """

    recall_at: dict[int, float]
    r_precision: float
    map_at_r: float
    map_at_100: float
    queries: int
    lone_images: int
    by_identity: dict[str, np.ndarray] = dataclasses.field(repr=False)
    identities: np.ndarray = dataclasses.field(repr=False)


def retrieve(
    embeddings: np.ndarray, identities: np.ndarray, ks: Sequence[int] = KS
) -> Retrieval:
    """Ranks all images for each one.

    Args:
        embeddings: float32 [n, D], each of norm 1 (or 0).
        identities: [n], numbers or names.
        ks: depths of recall@k.

    Raises:
        ValueError: for a depth below 1 or wrong embeddings.
    """
    for k in ks:
        validate.positive(k=k)
    all_pairs.check(embeddings, identities)
    names, labels, counts = np.unique(identities, return_inverse=True, return_counts=True)
    order = np.argsort(labels, kind='stable')
    labels = labels[order].astype(np.int32)
    rows = np.asarray(embeddings, np.float32)[order]
    relevant = counts[labels] - 1
    names_of_figures = ['r_precision', 'map@r', 'map@100', *(f'recall@{k}' for k in (1, *ks))]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names_of_figures}
    query_labels = []
    for queries, hits in _hits(rows, labels, relevant, max(_MAP_DEPTH, *ks)):
        query_labels.append(labels[queries])
        for name, value in _figures(hits, relevant[queries], ks).items():
            parts[name].append(value)
    columns = {name: np.concatenate(p or [np.empty(0)]) for name, p in parts.items()}
    found = np.concatenate(query_labels or [np.empty(0, np.int32)])
    mean = {
        name: float(values.mean()) if len(values) else np.nan
        for name, values in columns.items()
    }
    with_query = np.unique(found)
    by_identity = {
        name: _mean_by(columns[column], found, with_query)
        for name, column in (
            ('precision@1', 'recall@1'),
            ('r_precision', 'r_precision'),
            ('map@r', 'map@r'),
        )
    }
    return Retrieval(
        recall_at={k: mean[f'recall@{k}'] for k in ks},
        r_precision=mean['r_precision'],
        map_at_r=mean['map@r'],
        map_at_100=mean['map@100'],
        queries=len(found),
        lone_images=len(labels) - len(found),
        by_identity=by_identity,
        identities=names[with_query],
    )


def nearest(
    embeddings: np.ndarray, queries: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the k nearest other images of a few queries, the most similar first.

    Args:
        embeddings: float32 [n, D].
        queries: int [q], rows of `embeddings`.
        k: how many; fewer if there are fewer images.

    Returns:
        Rows int64 [q, k] and similarities float32 [q, k].
    """
    scores = embeddings[queries] @ embeddings.T
    scores[np.arange(len(queries)), queries] = -np.inf
    found = np.argsort(-scores, axis=1, kind='stable')[:, : min(k, len(embeddings) - 1)]
    return found, np.take_along_axis(scores, found, axis=1)


def _figures(
    hits: np.ndarray, relevant: np.ndarray, ks: Sequence[int]
) -> dict[str, np.ndarray]:
    """Figures of queries.

    Args:
        hits: bool [q, depth], whether each result is relevant, best first.
        relevant: int [q], R of each.
        ks: depths.
    """
    ranks = np.arange(1, hits.shape[1] + 1)
    precision = np.where(hits, np.cumsum(hits, axis=1) / ranks, 0.0)
    among_r = ranks <= relevant[:, None]
    values = {f'recall@{k}': hits[:, :k].any(axis=1) for k in (1, *ks)}
    values['r_precision'] = (hits & among_r).sum(axis=1) / relevant
    values['map@r'] = (precision * among_r).sum(axis=1) / relevant
    most = np.minimum(relevant, _MAP_DEPTH)
    values['map@100'] = precision[:, :_MAP_DEPTH].sum(axis=1) / most
    return values


def _hits(
    rows: np.ndarray, labels: np.ndarray, relevant: np.ndarray, depth: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields blocks of queries and whether each of their first results is relevant."""
    import tensorflow as tf

    n = len(rows)
    size = max(1, min(n, _BLOCK_ENTRIES // n))
    with_query = np.nonzero(relevant)[0]
    with tf.device('/cpu:0'):
        # Steps of `pair_scores`, as exact integers: scaling by a power of two is exact.
        reference = tf.constant(rows * np.float32(1 / all_pairs.STEP))
        reference_labels = tf.constant(labels)
        for start in range(0, len(with_query), size):
            queries = with_query[start : start + size]
            k = min(n - 1, max(depth, relevant[queries].max()))
            places = queries.astype(np.int32)
            of_queries = rows[queries], places, labels[queries]
            yield queries, _search()(reference, reference_labels, *of_queries, k).numpy()


@functools.cache
def _search() -> Any:
    """The search of a block as a TensorFlow graph, one for all sizes."""
    import tensorflow as tf

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([], tf.int32),
        ]
    )
    def search(
        reference: Any, reference_labels: Any, queries: Any, places: Any, labels: Any, k: Any
    ) -> Any:
        steps = tf.round(tf.matmul(queries, reference, transpose_b=True))
        same = tf.equal(labels[:, None], reference_labels[None, :])
        # Half a step back among equals.
        steps -= 0.5 * tf.cast(same, tf.float32)
        own = tf.stack([tf.range(tf.size(places)), places], axis=1)
        steps = tf.tensor_scatter_nd_update(steps, own, tf.fill([tf.size(places)], -np.inf))
        found = tf.math.top_k(steps, k).indices
        return tf.equal(tf.gather(reference_labels, found), labels[:, None])

    # Not later: TensorFlow cannot free it once its own modules are torn down.
    atexit.register(_search.cache_clear)
    return search


def _mean_by(values: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    totals = np.bincount(labels, values, minlength=groups.max(initial=0) + 1)
    counts = np.bincount(labels, minlength=len(totals))
    return totals[groups] / counts[groups]


def metrics(images: Any) -> dict[str, float]:
    """Returns the figures by name."""
    result = retrieve(images.embeddings, images.identities)
    return {
        'precision@1': result.recall_at[1],
        **{f'recall@{k}': value for k, value in result.recall_at.items() if k > 1},
        'r_precision': result.r_precision,
        'map@r': result.map_at_r,
        'map@100': result.map_at_100,
    }

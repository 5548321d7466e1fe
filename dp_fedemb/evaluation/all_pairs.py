"""Exact counts of the similarity of all pairs, in bounded memory.

The similarity of two images is the inner product of their unit-norm embeddings,
computed in float32 and rounded to a multiple of `STEP` = 2**-21 (4.8e-7, the size of
the rounding errors of such a product). It is therefore an integer number of steps,
two products that differ by rounding alone are mostly one value, and counting replaces
sorting:

*   a first pass counts all pairs in bins of `BIN_STEPS` steps;
*   a second one resolves single steps inside the few bins that a caller asks for.

Both go over tiles of the upper triangle of the matrix of similarities, one thread a
core. Rows are sorted by identity, so genuine pairs (same identity) lie next to the
diagonal, and what lies further does not look at labels.
"""

import atexit
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
import functools
from typing import Any, Optional, Union

import numpy as np

from dp_fedemb import environment

STEP = 2.0**-21
BIN_STEPS = 128
# Bins of a similarity of [-1, 1], and some more for embeddings not quite of norm 1.
_HALF = round(1 / (BIN_STEPS * STEP)) + 64
NUM_BINS = 2 * _HALF
# Adding this to a similarity in units of bins leaves 7 bits after the point in
# float32, which rounds it to whole steps, and makes it positive.
_OFFSET = 1.5 * 2**16
_FIRST = int(_OFFSET) - _HALF
# Of a tile that is not on the diagonal: 8 MB of float32.
_TILE_ROWS = 512
_TILE_COLUMNS = 4096
_NORM_TOLERANCE = 1e-3
# Rows and columns of the matrix of similarities.
Tile = tuple[slice, slice]


def bin_edges() -> np.ndarray:
    """Returns the lower edges of the bins, float64 [NUM_BINS], and the last upper one."""
    return (np.arange(NUM_BINS + 1) - _HALF) * (BIN_STEPS * STEP)


def similarity(bins: Union[int, np.ndarray], steps: Union[int, np.ndarray] = 0) -> np.ndarray:
    """Returns the similarity at a step (0..BIN_STEPS) of a bin, exactly."""
    return ((np.asarray(bins) - _HALF) * BIN_STEPS + steps) * STEP


def check(embeddings: np.ndarray, identities: np.ndarray) -> None:
    """Raises ValueError unless embeddings are of norm 1 or 0, each with an identity."""
    embeddings, identities = np.asarray(embeddings), np.asarray(identities)
    if embeddings.ndim != 2 or identities.shape != embeddings.shape[:1]:
        raise ValueError(
            f'embeddings {list(embeddings.shape)}, identities {list(identities.shape)}:'
            ' expected [n, D] and [n]'
        )
    norms = np.sqrt(np.einsum('nd,nd->n', embeddings, embeddings, dtype=np.float64))
    # A network without biases gives a black image a zero; its similarity is 0.
    wrong = ~((np.abs(norms - 1) <= _NORM_TOLERANCE) | (norms == 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f'embeddings: {wrong.sum():,} of {len(norms):,} are not of norm 1 (row {row}:'
            f' {norms[row]:.6g}); normalise them, or look why training diverged'
        )


class PairScores:
    """Counts over the unordered pairs of distinct images.

    Attributes:
        num_pairs: n (n - 1) / 2.
        num_genuine: pairs of the same identity.
        identities: [num_identities] the distinct identities, sorted.
        counts: [num_identities] images of each.
    """

    def __init__(self, embeddings: np.ndarray, identities: np.ndarray):
        """Sorts the embeddings.

        Args:
            embeddings: float32 [n, D], each of norm 1 or 0.
            identities: [n], numbers or names.

        Raises:
            ValueError: for other shapes, norms or non-finite values.
        """
        check(embeddings, identities)
        self.identities, labels, self.counts = np.unique(
            identities, return_inverse=True, return_counts=True
        )
        order = np.argsort(labels, kind='stable')
        self._order = order
        self._labels = labels[order].astype(np.int32)
        self._rows = np.asarray(embeddings, np.float32)[order]
        # For each row, the first one of the next identity.
        self._identity_end = np.cumsum(self.counts)[self._labels]
        n = len(order)
        self.num_pairs = n * (n - 1) // 2
        self.num_genuine = int(np.sum(self.counts * (self.counts - 1) // 2))

    def histograms(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns int64 [NUM_BINS] counts of genuine and of impostor pairs."""
        genuine, every = self._sum((2, NUM_BINS), self._count_tile, self._tiles())
        if (genuine.sum(), every.sum()) != (self.num_genuine, self.num_pairs):
            raise RuntimeError(
                f'{every.sum():,} pairs counted, {genuine.sum():,} genuine; expected'
                f' {self.num_pairs:,} and {self.num_genuine:,}; please report it'
            )
        return genuine, every - genuine

    def resolve(self, bins: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Counts the pairs of each step inside some bins.

        Returns:
            int64 [len(bins), BIN_STEPS] counts of genuine and of impostor pairs.
        """
        wanted = np.asarray(bins, np.int64)

        def count(counts: np.ndarray, *tile: slice) -> None:
            self._resolve_tile(counts, wanted, *tile)

        genuine, every = self._sum((2, len(bins), BIN_STEPS), count, self._tiles())
        return genuine, every - genuine

    def accepted_by_identity(self, threshold: float) -> np.ndarray:
        """Returns int64 [num_identities] genuine pairs with similarity >= threshold."""
        lowest = np.float32(threshold / (BIN_STEPS * STEP) + _OFFSET)

        def count(counts: np.ndarray, rows: slice, columns: slice) -> None:
            found = self._genuine(rows, columns)
            if found is None:
                return
            scores, _ = self._scores(rows, columns)
            near, same = found
            row = np.nonzero(same & (scores[:, near] >= lowest))[0]
            counts += np.bincount(self._labels[rows][row], minlength=len(counts))

        with_genuine = [tile for tile in self._tiles() if self._genuine(*tile) is not None]
        return self._sum((len(self.identities),), count, with_genuine)

    def accepted_by_image(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Counts, for each image, the pairs with similarity >= threshold that it is in.

        Returns:
            int64 [n], genuine and impostor pairs, in the order that the caller gave. A pair
            is counted at both its images.
        """
        lowest = np.float32(threshold / (BIN_STEPS * STEP) + _OFFSET)

        def count(counts: np.ndarray, rows: slice, columns: slice) -> None:
            genuine, every = counts
            scores, _ = self._scores(rows, columns)
            accepted = scores >= lowest
            every[rows] += np.count_nonzero(accepted, axis=1)
            every[columns] += np.count_nonzero(accepted, axis=0)
            if (found := self._genuine(rows, columns)) is not None:
                near, same = found
                same = same & accepted[:, near]
                genuine[rows] += np.count_nonzero(same, axis=1)
                genuine[columns][near] += np.count_nonzero(same, axis=0)

        sums = self._sum((2, len(self._rows)), count, self._tiles())
        genuine, every = np.empty_like(sums)
        genuine[self._order], every[self._order] = sums
        return genuine, every - genuine

    def _tiles(self) -> Iterator[Tile]:
        """Row and column slices: tiles on the diagonal, and those right of them."""
        n = len(self._rows)
        for start in range(0, n, _TILE_ROWS):
            rows = slice(start, min(start + _TILE_ROWS, n))
            yield rows, rows
            for left in range(rows.stop, n, _TILE_COLUMNS):
                yield rows, slice(left, min(left + _TILE_COLUMNS, n))

    def _genuine(self, rows: slice, columns: slice) -> Optional[tuple[slice, np.ndarray]]:
        """Where a tile's genuine pairs are.

        Returns:
            The tile's columns that may hold some, and a mask of the tile's rows and
            these columns; None if there is none.
        """
        width = min(self._identity_end[rows.stop - 1], columns.stop) - columns.start
        if width <= 0:
            return None
        near = slice(0, width)
        same = self._labels[rows, None] == self._labels[None, columns][:, near]
        return near, np.triu(same, 1) if rows == columns else same

    def _scores(
        self, rows: slice, columns: slice, histogram: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns a tile's scores in bins plus `_OFFSET`, and perhaps their counts.

        On the diagonal a score that is no pair of its own (an image with itself, a
        pair in its other order) is 0, which is below all bins.
        """
        scores, counts = _graph()(
            self._rows[rows], self._rows[columns], rows == columns, histogram
        )
        # Views: `.numpy()` would copy.
        return np.asarray(memoryview(scores)), np.asarray(memoryview(counts))

    def _count_tile(self, counts: np.ndarray, rows: slice, columns: slice) -> None:
        genuine, every = counts
        scores, histogram = self._scores(rows, columns, histogram=True)
        every += histogram[_FIRST:]
        if (found := self._genuine(rows, columns)) is not None:
            near, same = found
            steps = scores[:, near][same].astype(np.int64)
            genuine += np.bincount(steps - _FIRST, minlength=NUM_BINS)

    def _resolve_tile(
        self, counts: np.ndarray, bins: np.ndarray, rows: slice, columns: slice
    ) -> None:
        genuine, every = counts
        scores, _ = self._scores(rows, columns)
        found = self._genuine(rows, columns)
        for index, number in enumerate(bins):
            low = np.float32(number + _FIRST)
            inside = (scores >= low) & (scores < low + 1)
            every[index] += _steps(scores[inside], low)
            if found is not None:
                near, same = found
                genuine[index] += _steps(scores[:, near][inside[:, near] & same], low)

    def _sum(
        self, shape: tuple[int, ...], count: Callable[..., None], tiles: Iterable[Tile]
    ) -> np.ndarray:
        """Adds up what `count(counts, rows, columns)` adds to int64 counts of `shape`."""
        todo = list(tiles)

        def work(number: int) -> np.ndarray:
            counts = np.zeros(shape, np.int64)
            for rows, columns in todo[number::threads]:
                count(counts, rows, columns)
            return counts

        threads = max(1, min(environment.usable_cores(), len(todo)))
        with futures.ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(work, range(threads)), np.zeros(shape, np.int64))


def _steps(scores: np.ndarray, low: np.floating) -> np.ndarray:
    return np.bincount(((scores - low) * BIN_STEPS).astype(np.int64), minlength=BIN_STEPS)


@functools.cache
def _graph() -> Callable[..., Any]:
    """The tile as a TensorFlow graph, whose matrix product is the fastest at hand.

    NumPy's OpenBLAS takes an unknown processor for an old one and is then several
    times slower; TensorFlow's count of integers does not hold Python's lock.
    """
    import tensorflow as tf

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([], tf.bool),
            tf.TensorSpec([], tf.bool),
        ]
    )
    def tile(rows: Any, columns: Any, diagonal: Any, histogram: Any) -> Any:
        # A power of two: scaling before the product changes no bit of it.
        rows = rows * (1 / (BIN_STEPS * STEP))
        scores = tf.matmul(rows, columns, transpose_b=True) + _OFFSET

        def above_diagonal() -> Any:
            upper = tf.linalg.band_part(scores, 0, -1)
            return tf.linalg.set_diag(upper, tf.zeros(tf.shape(scores)[:1]))

        scores = tf.cond(diagonal, above_diagonal, lambda: scores)

        def count() -> Any:
            return tf.raw_ops.DenseBincount(
                input=tf.reshape(tf.cast(scores, tf.int32), [-1]),
                size=_FIRST + NUM_BINS,
                weights=tf.zeros([0], tf.int32),
            )

        return scores, tf.cond(histogram, count, lambda: tf.zeros([0], tf.int32))

    def on_cpu(*arguments: Any) -> Any:
        with tf.device('/cpu:0'):
            return tile(*arguments)

    # Not later: TensorFlow cannot free it once its own modules are torn down.
    atexit.register(_graph.cache_clear)
    return on_cpu

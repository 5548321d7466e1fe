"""Exactly rounded weighted sums of Gaussians that several rounds share.

As `rounded_gaussian`, for round(s (w_0 X_0 + w_1 X_1 + ...)) with each X_j the normals of a
key of its own: normals in float64, a bound of their error, and wherever that much could
change a rounded sum, its normals again with as many digits as it takes. So what is rounded
is the sum of the Gaussians themselves, and several sums of the same keys are so jointly.
"""

from collections.abc import Callable, Sequence
from concurrent import futures
import hashlib
import os
import threading
from typing import Any, Generic, TypeVar

import mpmath
import numpy as np
from scipy import special

from dp_fedemb.aggregation import rounded_gaussian

# What tells one vector of normals from another.
_Name = TypeVar('_Name')
# Beyond it 64 bits of U do not tell X closely enough.
_TAIL = 4.5
# Of a normal within the tail: SciPy's inverse, 2^-47, and half a step of 2^-64 over the
# density there, 2^-49. Those beyond are rounded from the exact one.
_ERROR = 2.0**-46
# Sums of so many grid units still leave few to be made exactly.
MAX_STDDEV = 2.0**36
_CHUNK = 1 << 15
_FURTHER_BITS = 256
# Bits and steps of Newton's method from float64; the second pair wherever the first leaves
# less than 2^-60 to the edge.
_PRECISIONS = ((160, 2), (400, 4))
# Its precision is one number for all threads: of our own, and one thread at a time.
_MP = mpmath.MPContext()
_ONE_THREAD = threading.RLock()


class Normals:
    """The normals of a key: all of them in float64, and any one exactly."""

    def __init__(self, key: bytes, size: int) -> None:
        """Draws them.

        Args:
            key: 32 secret bytes, never used for anything else; the same key, the same
                normals.
            size: number of normals.
        """
        self._key = key
        self.values = np.empty(size)
        in_pieces(size, lambda part: self._fill(part.start, self.values[part]))
        # Bound of their size.
        self.largest = float(np.abs(self.values).max(initial=0.0))

    def exact(self, index: int, precision: int, steps: int) -> Any:
        """Returns one normal, by Newton's method within the working precision."""
        word = int(rounded_gaussian.words(self._key, index, 1)[0])
        seed = hashlib.sha256(self._key + b'further bits' + index.to_bytes(8, 'big')).digest()
        with _ONE_THREAD, _MP.workprec(precision + 200):
            # Of the lower half; the last half keeps zero out.
            uniform = _MP.ldexp(
                _MP.mpf((word >> 1 << _FURTHER_BITS) + int.from_bytes(seed, 'big')) + 0.5,
                -64 - _FURTHER_BITS,
            )
        with _ONE_THREAD, _MP.workprec(precision):
            x = _MP.mpf(max(float(special.ndtri(float(uniform))), -40.0))
            for _ in range(steps):
                density = _MP.exp(-x * x / 2) / _MP.sqrt(2 * _MP.pi)
                x -= (_MP.erfc(-x / _MP.sqrt(2)) / 2 - uniform) / density
            return x if word & 1 else -x

    def _fill(self, start: int, out: np.ndarray) -> None:
        words = rounded_gaussian.words(self._key, start, len(out))
        np.copyto(out, words >> np.uint64(1), casting='unsafe')
        out += 0.5
        out *= 2.0**-64
        special.ndtri(out, out=out)
        far = np.flatnonzero(out < -_TAIL)
        # The lowest bit is the sign; the lower half is negative.
        out *= 2.0 * (words & np.uint64(1)) - 1.0
        for index in far.tolist():
            out[index] = float(self.exact(start + index, *_PRECISIONS[-1]))


class CombinedDraws(Generic[_Name]):
    """Weighted sums of the normals of names; keeps those of the sum before."""

    def __init__(self, key_of: Callable[[_Name], bytes], size: int) -> None:
        """Initialises the draws.

        Args:
            key_of: from a name to the key of its normals.
            size: number of coordinates.
        """
        self._key_of = key_of
        self._size = size
        self._kept: dict[_Name, Normals] = {}

    def draw(
        self, names: Sequence[_Name], weights: Sequence[float], stddev: float
    ) -> np.ndarray:
        """Returns round(stddev times the sum of weights times normals), int64 [size].

        Args:
            names: of the normals.
            weights: one per name.
            stddev: in grid units.

        Raises:
            ValueError: for a sum of more than `MAX_STDDEV`.
        """
        scale = sum(abs(weight) for weight in weights)
        if not 0 < stddev * scale <= MAX_STDDEV:
            raise ValueError(
                f'stddev={stddev!r} with weights of a sum of {scale:g}: expected a product'
                ' in (0, 2**36] grid units'
            )
        kept = self._kept
        self._kept = {
            name: kept[name] if name in kept else Normals(self._key_of(name), self._size)
            for name in names
        }
        normals = [self._kept[name] for name in names]
        # Errors of the normals, and of each product, sum and the scaling.
        largest = max(each.largest for each in normals)
        roundings = (len(weights) + 2) * largest * 2.0**-53
        guard = stddev * scale * (_ERROR + roundings)
        result = np.empty(self._size, np.int64)

        def work(part: slice) -> None:
            total = weights[0] * normals[0].values[part]
            for weight, other in zip(weights[1:], normals[1:]):
                total += weight * other.values[part]
            total *= stddev
            rounded = np.rint(total)
            result[part] = rounded
            total -= rounded
            unsure = np.flatnonzero(np.abs(total, out=total) > 0.5 - guard)
            for index in (part.start + unsure).tolist():
                result[index] = _exact_sum(normals, weights, stddev, index)

        in_pieces(self._size, work)
        return result


def in_pieces(size: int, work: Callable[[slice], None]) -> None:
    """Calls a function with slices that make up [0, size), on all cores.

    A piece of a few vectors stays in a core's cache.
    """
    parts = [slice(start, min(start + _CHUNK, size)) for start in range(0, size, _CHUNK)]
    if len(parts) <= 1:
        for part in parts:
            work(part)
        return
    with futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for done in [pool.submit(work, part) for part in parts]:
            done.result()


def _exact_sum(
    normals: Sequence[Normals], weights: Sequence[float], stddev: float, index: int
) -> int:
    """Returns the rounded sum of one coordinate."""
    for precision, steps in _PRECISIONS:
        with _ONE_THREAD, _MP.workprec(precision):
            total = _MP.mpf(stddev) * sum(
                _MP.mpf(weight) * each.exact(index, precision, steps)
                for weight, each in zip(weights, normals)
            )
            rounded = _MP.nint(total)
            if abs(abs(total - rounded) - 0.5) > 2.0**-60:
                break
    return int(rounded)


def statistical_distance(num_draws: float) -> float:
    """Returns a bound of the total variation of so many rounded sums from exact ones."""
    return num_draws * rounded_gaussian.UNDECIDED_PROBABILITY

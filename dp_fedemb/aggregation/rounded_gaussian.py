"""Exact draws of a Gaussian rounded to integers, from the bits of AES-256 in counter mode.

A draw is round(s X) for X = inverse normal of a uniform U. The first 64 bits of U (a
sign and 63 bits of magnitude) give X in float64 but for an error of at most
`_GUARD`, which includes the bits of U that are missing. Only where that much could
change the rounded value, or where X is far out in the tail, 256 further bits are taken
and the comparison is made with 400 bits of precision. So what comes out is the rounding
of the continuous Gaussian itself, not of an approximation to it: rounding is
post-processing, and a sum of integers that is noised with it costs exactly what the
Gaussian mechanism is accounted for.

What this rests on, and a test checks: SciPy's `ndtri` is within 2**-47 of the inverse on
[-5, 5] (measured: 2**-49.7); and AES's output cannot be told from random bits.
"""

from concurrent import futures
import hashlib
import threading

from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers import modes
import mpmath
import numpy as np
from scipy import special

from dp_fedemb import environment

GENERATOR = 'AES-256 in counter mode'
# Beyond it (6e-7 of all draws) 64 bits of U do not tell X closely enough.
_TAIL = 5.0
# Of X on [-_TAIL, _TAIL]. Half a step of 2**-64 over the density at 5 is 2**-45.5.
_GUARD = 2.0**-43
_FURTHER_BITS = 256
# Draws made at a time: their words and intermediate values stay in a core's cache.
_CHUNK = 1 << 15
_WORDS_PER_BLOCK = 2  # Of 64 bits, in a block of AES.
# mpmath has one working precision for all threads.
_ONE_THREAD = threading.Lock()
# Above it too many draws would need the long way.
MAX_STDDEV = 2.0**34

# The probability that 319 bits of U do not decide a draw either.
UNDECIDED_PROBABILITY = 2.0**-250


def draw(key: bytes, stddev: float, size: int) -> np.ndarray:
    """Returns independent draws of round(N(0, stddev^2)).

    Args:
        key: 32 secret bytes, never used for anything else; the same key, the same draws.
        stddev: in integer units, in (0, 2**34].
        size: number of draws.

    Returns:
        int64 [size].

    Raises:
        ValueError: for another key length or standard deviation.
    """
    if len(key) != 32:
        raise ValueError(f'key of {len(key)} bytes: expected 32')
    if not 0 < stddev <= MAX_STDDEV:
        raise ValueError(f'stddev={stddev!r}: expected a number in (0, 2**34] grid units')
    result = np.empty(size, np.int64)
    starts = range(0, size, _CHUNK)
    if len(starts) == 1:
        _draw_chunk(key, stddev, 0, result)
        return result
    with futures.ThreadPoolExecutor(environment.usable_cores()) as pool:
        done = [
            pool.submit(_draw_chunk, key, stddev, start, result[start : start + _CHUNK])
            for start in starts
        ]
        for each in done:
            each.result()
    return result


def _draw_chunk(key: bytes, stddev: float, start: int, out: np.ndarray) -> None:
    """Fills `out` with the draws from number `start` on."""
    bits = words(key, start, len(out))
    magnitude = bits >> np.uint64(1)
    # In (0, 1/2): in the lower tail float64 loses nothing.
    normal = magnitude.astype(np.float64)
    normal += 0.5
    normal *= 2.0**-64
    special.ndtri(normal, out=normal)
    unsure = np.flatnonzero(normal < -_TAIL)
    normal *= stddev
    rounded = np.rint(normal)
    np.subtract(normal, rounded, out=normal)
    np.abs(normal, out=normal)
    unsure = np.union1d(unsure, np.flatnonzero(normal > 0.5 - stddev * _GUARD))
    out[:] = rounded
    for index in unsure:
        out[index] = _exact(key, int(magnitude[index]), start + int(index), stddev)
    # The lowest bit is the sign.
    negative = (bits & np.uint64(1)).view(np.int64)
    out *= 2 * negative - 1


def words(key: bytes, start: int, count: int) -> np.ndarray:
    """Returns uint64 [count] of the key stream, from word number `start` on."""
    block, skipped = divmod(start, _WORDS_PER_BLOCK)
    cipher = Cipher(algorithms.AES(key), modes.CTR(block.to_bytes(16, 'big')))
    stream = cipher.encryptor().update(bytes(8 * (skipped + count)))
    return np.frombuffer(stream, '<u8')[skipped:]


def _exact(key: bytes, magnitude: int, index: int, stddev: float) -> int:
    """Returns round(stddev X) for the lower half of the normal, with further bits of U."""
    seed = hashlib.sha256(key + b'further bits' + index.to_bytes(8, 'big')).digest()
    further = int.from_bytes(seed, 'big')
    with _ONE_THREAD, mpmath.workprec(400):
        # Of U / 2, in (0, 1/2); the half keeps zero out.
        uniform = mpmath.ldexp(
            mpmath.mpf((magnitude << _FURTHER_BITS) + further) + 0.5, -64 - _FURTHER_BITS
        )
        normal = _inverse_normal(uniform)
        return int(mpmath.nint(normal * mpmath.mpf(stddev)))


def _inverse_normal(uniform: mpmath.mpf) -> mpmath.mpf:
    """Returns x with Phi(x) = uniform < 1/2, by Newton's method from float64."""
    start = float(special.ndtri(float(uniform)))
    x = mpmath.mpf(max(start, -40.0))
    # From 50 correct bits: 100, 200, 400.
    for _ in range(4):
        density = mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)
        x -= (mpmath.erfc(-x / mpmath.sqrt(2)) / 2 - uniform) / density
    return x


def statistical_distance(num_draws: float) -> float:
    """Returns a bound of the total variation from exactly rounded Gaussians.

    For all draws together, given uniform bits; a mechanism within tau of one that is
    (epsilon, delta)-DP is (epsilon, delta + (1 + e^epsilon) tau)-DP.
    """
    return num_draws * UNDECIDED_PROBABILITY

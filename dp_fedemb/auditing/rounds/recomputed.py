"""The noise of rounds once more, from the seed and from what the accountant was told.

Nothing of `aggregation` is used, nor the run's own keys: bits of AES in counter mode, an
inverse of the normal by erfc, and the matrix C of which the sensitivity is taken, solved for
the noise of all rounds (C n = z Z), or the weights of the trees' nodes. In float64: it is to
be the same but for roundings, not the same integers.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from cryptography.hazmat.primitives import ciphers
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers import modes
import numpy as np
from numpy import typing as npt
from scipy import special

from dp_fedemb import privacy
from dp_fedemb import randomness
from dp_fedemb.auditing import checks

Array = npt.NDArray[np.float64]
# First index of a key: what it is for.
_ROUND, _NODE = 0, 2
# Over C: 32 units of the coarsest grid, for what roundings of many rounds add up to.
_GRID = 2.0**-15


def noise(
    plan: privacy.PrivacyPlan, seed: int, attempts: Sequence[int], size: int
) -> list[Array]:
    """Returns the noise on the sums of the first rounds, over C, each a vector [size].

    Args:
        plan: what is claimed.
        seed: the secret.
        attempts: of the rounds.
        size: coordinates of a sum.
    """
    scale = plan.noise_stddev / plan.mechanism.clip_norm
    mechanism: Any = plan.mechanism
    if hasattr(mechanism, 'efficient'):
        return [scale * each for each in _of_trees(mechanism, seed, attempts, size)]
    found = [
        scale * _normals(seed, (_ROUND, number, attempt), size)
        for number, attempt in enumerate(attempts)
    ]
    if not mechanism.independent_rounds:
        column = mechanism.resolved_strategy().column(len(attempts))
        for number, own in enumerate(found):
            for lag in range(1, number + 1):
                own -= column[lag] * found[number - lag]
    return found


def check(
    name: str,
    seen: Sequence[Sequence[Array]],
    expected: Sequence[Array],
    hidden: Sequence[Sequence[Array]],
    stddev: float,
) -> checks.Check:
    """Returns the check that noise is what was recomputed.

    Args:
        name: of the check.
        seen: of rounds, as `noise_of.noise`.
        expected: of the same rounds, as `noise`.
        hidden: of the same rounds, as `noise_of.hidden`.
        stddev: of one draw over C.
    """
    worst, off, place = 0.0, 0.0, 'no round'
    for number, parts in enumerate(seen):
        ends = np.cumsum([part.size for part in parts])[:-1]
        claimed = np.split(expected[number], ends)
        for layer, (part, own, least) in enumerate(zip(parts, claimed, hidden[number])):
            # Not a number is as far off as can be.
            apart = np.nan_to_num(np.abs(part.ravel() - own), nan=np.inf)
            ratio = float(np.max(apart / (least.ravel() + _GRID), initial=0.0))
            if ratio >= worst:
                worst, off = ratio, float(np.max(apart)) / stddev
                place = f'round {number + 1}, layer {layer + 1}'
    return checks.holds(
        name,
        worst <= 1,
        f'up to {off:.1e} standard deviations off in {place},'
        f' {worst:.2g} of what roundings can do',
    )


def _normals(seed: int, names: Sequence[int], size: int) -> Array:
    """Standard normals of a key: a sign in the lowest bit of a word, a tail in the others."""
    key = randomness.key(seed, 'noise/key', *names)
    stream = ciphers.Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    words = np.frombuffer(stream.update(bytes(8 * size)), '<u8')
    # Of both tails together, in (0, 1).
    tails = (np.floor_divide(words, 2).astype(np.float64) + 0.5) * 2.0**-63
    return np.where(words % 2, -1.0, 1.0) * np.sqrt(2.0) * special.erfcinv(tails)


def _of_trees(mechanism: Any, seed: int, attempts: Sequence[int], size: int) -> Iterator[Array]:
    """Differences of prefixes of the trees, in units of a node's draw."""
    length = mechanism.restart_rounds or 2**62
    drawn: dict[tuple[int, ...], Array] = {}
    for number in range(len(attempts)):
        tree, step = divmod(number, length)
        prefix = step + 1
        if mechanism.tree_completion and prefix == length:
            prefix = 1 << (length - 1).bit_length()
        total = np.zeros(size)
        for sign, rounds in ((1, prefix), (-1, step)):
            for height, node, weight in _nodes(rounds, mechanism.efficient):
                # A node is drawn in the attempt of the round that completes it.
                last = min(((node + 1) << height) - 1, length - 1) + tree * length
                names = (_NODE, tree, height, node, attempts[last])
                if names not in drawn:
                    drawn[names] = _normals(seed, names, size)
                total += sign * weight * drawn[names]
        yield total


def _nodes(prefix: int, efficient: bool) -> Iterator[tuple[int, int, float]]:
    """Height, number and weight of the nodes in the estimate of so many rounds."""
    first = 0
    for root in reversed(range(prefix.bit_length())):
        if not prefix >> root & 1:
            continue
        for height in range(0 if efficient else root, root + 1):
            weight = 2.0**height / (2 ** (root + 1) - 1) if efficient else 1.0
            for node in range(first >> height, (first + (1 << root)) >> height):
                yield height, node, weight
        first += 1 << root

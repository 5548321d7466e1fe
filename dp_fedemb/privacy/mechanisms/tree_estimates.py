"""What of each node's draw is in the prefix sums of DP-FTRL's trees.

Kairouz et al. (2021, arXiv 2103.00039): the prefix up to a round is a row of complete
subtrees. Its noise is that in their roots or, estimated from all nodes (Honaker 2015),
2^h / (2^(j + 1) - 1) times the draw of every node at height h below a root at height j;
`aggregation.tree_noise` draws it so. Rounds of the trees before stay in the sum.
"""

from collections.abc import Iterator
from typing import Optional

import numpy as np

# Columns of one array; all nodes at once would be the square of the rounds.
_NODES = 512


def weights(
    rounds: int,
    restart_rounds: Optional[int] = None,
    complete: bool = False,
    efficient: bool = True,
) -> Iterator[np.ndarray]:
    """Yields the weights of all nodes, float64 [rounds, some nodes].

    >>> np.concatenate(list(weights(2, efficient=False)), axis=1)  # Two leaves, one root.
    array([[1., 0., 0.],
           [0., 0., 1.]])

    Args:
        rounds: completed.
        restart_rounds: rounds of one tree; None for a single tree.
        complete: whether a tree is filled up to a power of two before a restart.
        efficient: whether prefixes are estimated from all nodes.
    """
    length = restart_rounds or rounds
    for start in range(0, rounds, length):
        real = min(length, rounds - start)
        prefixes = np.arange(1, real + 1)
        if complete and real == length:
            prefixes[-1] = 1 << (length - 1).bit_length()
        height = 0
        while 1 << height <= prefixes[-1]:
            nodes = np.arange(prefixes[-1] >> height)
            for first in range(0, len(nodes), _NODES):
                table = np.zeros((rounds, len(nodes[first : first + _NODES])))
                table[start : start + real] = _level(
                    prefixes, nodes[first : first + _NODES], height, efficient
                )
                table[start + real :] = table[start + real - 1]
                yield table
            height += 1


def _level(prefixes: np.ndarray, nodes: np.ndarray, height: int, efficient: bool) -> np.ndarray:
    """Weights of nodes of one height of one tree, [rounds, nodes]."""
    found = np.zeros((len(prefixes), len(nodes)))
    for root in range(height, int(prefixes[-1]).bit_length()):
        # The largest subtree around a node that is complete is the one that is counted.
        ends = ((nodes >> (root - height)) + 1) << root
        of_draw = 2.0**height / (2.0 ** (root + 1) - 1) if efficient else root == height
        found[ends[None, :] <= prefixes[:, None]] = of_draw
    return found

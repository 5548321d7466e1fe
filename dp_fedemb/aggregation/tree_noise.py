"""Noise of DP-FTRL's trees as a function of the key and the round, without state.

Kairouz et al. (2021, arXiv 2103.00039): node (h, n) of a tree stands for its rounds
[n 2^h, (n+1) 2^h) and holds one draw of the noise. A prefix of the rounds is a row of
complete subtrees, one per binary digit, and its noise is the sum of theirs:

- plain: a subtree's noise is the draw in its root;
- efficient (Honaker 2015, estimation from below): the sum under a node is also the sum
  under its two children, so all nodes of the subtree are measurements of parts of it.
  Weighting them by inverse variance from the leaves up telescopes to the weight
  2^h / (2^(j+1) - 1) for every node at height h below a root at height j (all levels
  count as many rounds as they have leaves), and to the variance 1 / (2 - 2^-j) of a
  draw, against 1.

A round releases the difference of two prefixes. From t - 1 to t only the subtree
changes that t completes, so a round costs the draws below that one node: at most
2 t, and 1 + log2 of the rounds on average. tfp's tree aggregators keep one copy of the
model per level in their state instead.
"""

import dataclasses
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from dp_fedemb.aggregation import sum_query


@dataclasses.dataclass(frozen=True)
class TreeNoise:
    """The trees of a run; hands out each round's share of their noise.

    Attributes:
        restart_rounds: rounds of one tree; None for a single tree.
        tree_completion: whether the last round of a tree takes the prefix from the root
            of the tree filled up with empty rounds to a power of two.
        efficient: whether prefixes are estimated from all nodes.
    """

    restart_rounds: Optional[int]
    tree_completion: bool
    efficient: bool

    def ends_tree(self, round_num: tf.Tensor) -> tf.Tensor:
        """Returns whether the round (int64 scalar, from 0) is the last of its tree."""
        if self.restart_rounds is None:
            return tf.constant(False)
        return tf.equal((round_num + 1) % self.restart_rounds, 0)

    def add(self, record: Any, stddev: tf.Tensor, seed: tf.Tensor, round_num: tf.Tensor) -> Any:
        """Adds the round's noise to a structure.

        Args:
            record: structure of float32 tensors of fixed shapes, the round's sum.
            stddev: float32 scalar, of one node.
            seed: int64 [2], secret key of the trees.
            round_num: int64 scalar, from 0.
        """
        leaves = tf.nest.flatten(record)
        sizes = [leaf.shape.num_elements() for leaf in leaves]
        # One vector for all tensors: a draw per node and not per node and tensor.
        noise = self._residual(sum(sizes), seed, round_num)
        noised = [
            leaf + stddev * tf.reshape(part, leaf.shape)
            for leaf, part in zip(leaves, tf.split(noise, sizes))
        ]
        return tf.nest.pack_sequence_as(record, noised)

    @tf.function
    def _residual(self, size: int, seed: tf.Tensor, round_num: tf.Tensor) -> tf.Tensor:
        """Noise of the prefix up to this round minus that of the prefix before it.

        Returns:
            float32 [size], in units of the standard deviation of a node.
        """
        tree, step = self._place(round_num)
        tree_key = sum_query.round_seed(seed, tree, stream=1)
        # The subtree that the round completes, and how many of its rounds, seen from
        # its first one, are in the prefix before.
        start, height, before = self._completed(step)
        noise = tf.zeros([size])
        for level in tf.range(height + 1):
            first, last = self._nodes(level, height, before)
            for node in tf.range(first, last):
                key = sum_query.round_seed(
                    tree_key, tf.bitwise.right_shift(start, level) + node, stream=level
                )
                weight = self._weight(level, node, height, before)
                noise += weight * tf.random.stateless_normal([size], key)
        return noise

    def _place(self, round_num):
        """Number of the round's tree and of the round in it, from 0."""
        round_num = tf.cast(round_num, tf.int64)
        if self.restart_rounds is None:
            return tf.zeros_like(round_num), round_num
        return round_num // self.restart_rounds, round_num % self.restart_rounds

    def _completed(self, step):
        rounds = step + 1
        leaves = tf.bitwise.bitwise_and(rounds, -rounds)  # Lowest binary digit.
        start, height, before = rounds - leaves, _floor_log2(leaves), leaves - 1
        if self.tree_completion:
            last = self.restart_rounds - 1
            filled = (
                tf.zeros_like(step),
                tf.constant(last.bit_length(), tf.int64),
                tf.constant(last, tf.int64),
            )
            ends = tf.equal(step, last)
            start, height, before = (
                tf.where(ends, at_end, otherwise)
                for at_end, otherwise in zip(filled, (start, height, before))
            )
        return start, height, before

    def _nodes(self, level, height, before):
        """Range of the nodes of a level, from the subtree's first, that have weight."""
        if self.efficient:
            return tf.zeros_like(level), tf.bitwise.left_shift(_ONE, height - level)
        # The root, and the roots of the prefix before: one per binary digit.
        digits = tf.bitwise.right_shift(before, level)
        root = tf.equal(level, height)
        last = tf.where(root, _ONE, digits)
        return last - tf.where(root, _ONE, digits % 2), last

    def _weight(self, level, node, height, before):
        """Weight of a node in the estimate of the prefix, minus that in the one before."""
        if not self.efficient:
            return tf.where(tf.equal(level, height), 1.0, -1.0)
        first_round = tf.bitwise.left_shift(node, level)
        inside = tf.bitwise.left_shift(node + 1, level) <= before
        # The prefix before holds a node below the root of the highest digit in which
        # the node's rounds and the prefix's length differ.
        differing = tf.where(inside, tf.bitwise.bitwise_xor(first_round, before), _ONE)
        weight_before = _honaker_weight(level, _floor_log2(differing))
        return _honaker_weight(level, height) - tf.where(inside, weight_before, 0.0)


_ONE = np.int64(1)


def _honaker_weight(level, height):
    """2^h / (2^(j+1) - 1)."""
    leaves = tf.cast(tf.bitwise.left_shift(_ONE, height), tf.float32)
    rounds = tf.cast(tf.bitwise.left_shift(_ONE, level), tf.float32)
    return rounds / (2.0 * leaves - 1.0)


def _floor_log2(number):
    """Of an int64 scalar of at least 1; the half keeps powers of two off the edge."""
    log2 = tf.math.log(tf.cast(number, tf.float64) + 0.5) / np.log(2.0)
    return tf.cast(tf.floor(log2), tf.int64)

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

Draws are integers, and an estimate is rounded to one by integer division. Under a root
the weights of its sum add up to one, so the rounded estimate of noised sums is the
exact sum plus the rounded estimate of the noise: what is released is, without any
floating point, a function of sums of which each was noised with a rounded Gaussian.

A round releases the difference of two prefixes. From t - 1 to t only the subtree
changes that t completes, so a round costs the draws below that one node: at most
2 t, and 1 + log2 of the rounds on average. tfp's tree aggregators keep one copy of the
model per level in their state instead.
"""

import dataclasses
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from dp_fedemb.aggregation import noise as noise_lib

_ONE = np.int64(1)


# Equal ones would share a `tf.function` of their method, which dies with the first of them.
@dataclasses.dataclass(frozen=True, eq=False)
class TreeNoise:
    """The trees of a run; hands out each round's share of their noise.

    Attributes:
        restart_rounds: rounds of one tree; None for a single tree.
        tree_completion: whether the last round of a tree takes the prefix from the root
            of the tree filled up with empty rounds to a power of two.
        efficient: whether prefixes are estimated from all nodes.
        rounds: planned rounds, of which attempts are kept.
    """

    restart_rounds: Optional[int]
    tree_completion: bool
    efficient: bool
    rounds: int

    def no_attempts(self) -> tf.Tensor:
        """Returns int64 [rounds], zeros: no round was computed again."""
        return tf.zeros([self.rounds], tf.int64)

    def with_attempt(
        self, attempts: tf.Tensor, round_num: tf.Tensor, attempt: int
    ) -> tf.Tensor:
        """Returns the attempts with another one of a round.

        Raises:
            ValueError: for another attempt than 0 of a round beyond the planned ones.
        """
        round_num = int(round_num)
        if round_num >= self.rounds:
            if attempt == 0:
                return attempts
            raise ValueError(
                f'attempt={attempt} of round {round_num}: a tree keeps the attempts of its'
                f' {self.rounds} planned rounds only; plan more rounds'
            )
        return tf.tensor_scatter_nd_update(
            attempts, [[round_num]], [tf.constant(attempt, tf.int64)]
        )

    def attempt_of(self, attempts: tf.Tensor, round_num: tf.Tensor) -> tf.Tensor:
        """Returns the attempt of a round, int64 scalar."""
        kept = attempts[tf.minimum(round_num, self.rounds - 1)]
        return tf.where(round_num < self.rounds, kept, tf.zeros_like(kept))

    def ends_tree(self, round_num: tf.Tensor) -> tf.Tensor:
        """Returns whether the round (int64 scalar, from 0) is the last of its tree."""
        if self.restart_rounds is None:
            return tf.constant(False)
        return tf.equal((round_num + 1) % self.restart_rounds, 0)

    def nodes(self, rounds: int) -> int:
        """Returns a bound of the number of different nodes that rounds draw."""
        length = self.restart_rounds or rounds
        # A tree filled up to a power of two has less than four nodes a round.
        return 4 * length * -(-rounds // length) if rounds else 0

    @tf.function
    def residual(
        self,
        source: noise_lib.NoiseSource,
        state: Any,
        round_num: tf.Tensor,
        attempts: tf.Tensor,
        stddev: float,
        size: int,
    ) -> tf.Tensor:
        """Noise of the prefix up to this round minus that of the prefix before it.

        Args:
            source: of the draws in the nodes.
            state: of `source`, secret.
            round_num: int64 scalar, from 0.
            attempts: int64 [rounds].
            stddev: of a node, in grid units.
            size: coordinates.

        Returns:
            int64 [size], in grid units.
        """
        tree, step = self._place(round_num)
        # The subtree that the round completes, and how many of its rounds, seen from
        # its first one, are in the prefix before.
        start, height, before = self._completed(step)

        def draw(level: tf.Tensor, node: tf.Tensor) -> tf.Tensor:
            number = tf.bitwise.right_shift(start, level) + node
            attempt = self._attempt_of_node(attempts, tree, level, number)
            indices = (noise_lib.NODE, tree, level, number, attempt)
            return source.draw(state, indices, stddev, size)

        if not self.efficient:
            noise = draw(height, tf.zeros_like(height))
            first = tf.zeros_like(before)
            for below in tf.range(height):
                level = height - 1 - below
                if tf.bitwise.bitwise_and(tf.bitwise.right_shift(before, level), _ONE) > 0:
                    noise -= draw(level, tf.bitwise.right_shift(first, level))
                    first += tf.bitwise.left_shift(_ONE, level)
            return noise
        # Sum of 2^h times the draws under the root, and the estimates of the roots before.
        weighted = tf.zeros([size], tf.int64)
        estimates = tf.zeros([size], tf.int64)
        first = tf.zeros_like(before)
        for below in tf.range(height):
            root = height - 1 - below
            if tf.bitwise.bitwise_and(tf.bitwise.right_shift(before, root), _ONE) > 0:
                under_root = tf.zeros([size], tf.int64)
                for level in tf.range(root + 1):
                    begin = tf.bitwise.right_shift(first, level)
                    end = begin + tf.bitwise.left_shift(_ONE, root - level)
                    for node in tf.range(begin, end):
                        under_root += tf.bitwise.left_shift(draw(level, node), level)
                estimates += _honaker(under_root, root)
                weighted += under_root
                first += tf.bitwise.left_shift(_ONE, root)
        for level in tf.range(height + 1):
            begin = tf.bitwise.right_shift(before, level)
            end = tf.bitwise.left_shift(_ONE, height - level)
            for node in tf.range(begin, end):
                weighted += tf.bitwise.left_shift(draw(level, node), level)
        return _honaker(weighted, height) - estimates

    def _attempt_of_node(
        self, attempts: tf.Tensor, tree: tf.Tensor, level: tf.Tensor, number: tf.Tensor
    ) -> tf.Tensor:
        """Returns the attempt of the round that was the first to use a node."""
        step = tf.bitwise.left_shift(number + 1, level) - 1
        if self.restart_rounds is None:
            return self.attempt_of(attempts, step)
        # Nodes of empty rounds are used when the tree is completed.
        step = tf.minimum(step, self.restart_rounds - 1)
        return self.attempt_of(attempts, tree * self.restart_rounds + step)

    def _place(self, round_num: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Number of the round's tree and of the round in it, from 0."""
        round_num = tf.cast(round_num, tf.int64)
        if self.restart_rounds is None:
            return tf.zeros_like(round_num), round_num
        return round_num // self.restart_rounds, round_num % self.restart_rounds

    def _completed(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        rounds = step + 1
        leaves = tf.bitwise.bitwise_and(rounds, -rounds)  # Lowest binary digit.
        start, height, before = rounds - leaves, _floor_log2(leaves), leaves - 1
        if self.tree_completion and self.restart_rounds is not None:
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


def _honaker(weighted: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
    """Returns weighted / (2^(height + 1) - 1), rounded to the nearest integer."""
    divisor = tf.bitwise.left_shift(_ONE, height + 1) - 1
    # It is odd, so no quotient lies in the middle; division rounds down.
    return (weighted + divisor // 2) // divisor


def _floor_log2(number: tf.Tensor) -> tf.Tensor:
    """Of an int64 scalar of at least 1; the half keeps powers of two off the edge."""
    log2 = tf.math.log(tf.cast(number, tf.float64) + 0.5) / np.log(2.0)
    return tf.cast(tf.floor(log2), tf.int64)

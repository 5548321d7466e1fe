"""Prototype loss: softmax over the cosines with the identities' means.

Wan et al., *Generalized End-to-End Loss for Speaker Verification*, ICASSP 2018 (arXiv
1710.10467), equations 6, 8 and 9, without its trained scale and offset; the prototypes
of Snell et al. (NeurIPS 2017, arXiv 1703.05175). An image is compared with the mean
direction of each identity in the batch, its own image left out:

    loss_i = -log( exp(s cos(e_i, c_y)) / sum_j exp(s cos(e_i, c_j)) )
"""

import dataclasses

import tensorflow as tf

from dp_fedemb.models.heads import base


@dataclasses.dataclass(frozen=True)
class Prototype(base.PairHead):
    """Images move to the mean of their identity, and away from the means of others."""

    def loss_of_scores(self, scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        _, index = tf.unique(labels)
        num_identities = tf.reduce_max(tf.concat([index, [-1]], axis=0)) + 1
        member = tf.one_hot(index, num_identities)
        sums = tf.matmul(member, scores, transpose_a=True)
        counts = tf.reduce_sum(member, axis=0)
        others_of_own = tf.gather(sums, index) - scores
        usable = tf.gather(counts, index) > 1
        # A mean's length does not matter to a cosine.
        cosines = tf.matmul(scores, tf.math.l2_normalize(sums, axis=1), transpose_b=True)
        # Alone in the batch, an image has no mean to move to; its zero is masked below.
        own = tf.reduce_sum(scores * tf.math.l2_normalize(others_of_own, axis=1), axis=1)
        logits = self.scale * tf.where(member > 0, own[:, None], cosines)
        losses = -tf.reduce_sum(member * tf.nn.log_softmax(logits, axis=1), axis=1)
        return base.mean_where(usable, losses)

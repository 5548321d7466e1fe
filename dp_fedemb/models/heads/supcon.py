"""Supervised contrastive loss.

Khosla et al., *Supervised Contrastive Learning*, NeurIPS 2020 (arXiv 2004.11362), the
loss "out" of equation 2: for an image i, P(i) the others of its identity in the batch,

    loss_i = -1/|P(i)| sum_{p in P(i)} log( exp(s cos_ip) / sum_{a != i} exp(s cos_ia) )
"""

import dataclasses

import tensorflow as tf

from dp_fedemb.models.heads import base


@dataclasses.dataclass(frozen=True)
class SupCon(base.PairHead):
    """Images of an identity attract each other and repel all others of the batch."""

    def loss_of_scores(self, scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        logits = self.scale * tf.matmul(scores, scores, transpose_b=True)
        self_mask = tf.eye(tf.shape(labels)[0], dtype=tf.bool)
        # Not `==`, which compares tensors by identity in the graphs that TFF builds.
        positive = tf.equal(labels[:, None], labels[None, :]) & ~self_mask
        logits = tf.where(self_mask, float(logits.dtype.min), logits)
        log_share = tf.nn.log_softmax(logits, axis=1)
        counts = tf.reduce_sum(tf.cast(positive, tf.float32), axis=1)
        kept = tf.where(positive, log_share, tf.zeros_like(log_share))
        losses = -tf.reduce_sum(kept, axis=1) / tf.maximum(counts, 1.0)
        return base.mean_where(counts > 0, losses)

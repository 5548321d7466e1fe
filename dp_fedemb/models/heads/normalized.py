"""Normalised head: softmax over cosines.

NormFace (Wang et al. 2017, arXiv 1704.06369, equation 5), without its trained scale:

    loss = -log( exp(s cos_y) / sum_j exp(s cos_j) ),    cos_j = <e, w_j> / (|e| |w_j|)
"""

import dataclasses

import tensorflow as tf

from dp_fedemb.models.heads import base


@dataclasses.dataclass(frozen=True)
class Normalized(base.CosineHead):
    """Softmax regression on directions, which is what the embedding is used for."""

    def loss_of_scores(self, scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return base.mean_cross_entropy(labels, self.scale * scores)

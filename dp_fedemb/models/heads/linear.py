"""Linear head: softmax over embeddings @ kernel + bias, the paper's default."""

import dataclasses

import tensorflow as tf

from dp_fedemb.models.heads import base


@dataclasses.dataclass(frozen=True)
class Linear(base.Head):
    """Softmax regression on the raw embedding."""

    def initial_weights(
        self, embedding_dim: int, num_identities: tf.Tensor, seed: tf.Tensor
    ) -> list[tf.Tensor]:
        kernel = base.glorot_uniform(embedding_dim, num_identities, seed)
        return [kernel, tf.zeros([num_identities])]

    def weight_shapes(self, embedding_dim: int) -> list[tuple]:
        return [(embedding_dim, None), (None,)]

    def scores(self, weights: list[tf.Tensor], embeddings: tf.Tensor) -> tf.Tensor:
        kernel, bias = weights
        return tf.cast(embeddings, tf.float32) @ kernel + bias

    def loss_of_scores(self, scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return base.mean_cross_entropy(labels, scores)

"""What a classification head is: weights that live for one local fine-tuning.

A head is sized by the identities of the virtual client that trains it and is
thrown away afterwards, so it is functional rather than a Keras layer: the number
of identities is known only inside the graph.
"""

import abc

import tensorflow as tf


class Head(abc.ABC):
    """A per-virtual-client classifier over local labels 0..L-1."""

    @abc.abstractmethod
    def initial_weights(
        self, embedding_dim: int, num_identities: tf.Tensor, seed: tf.Tensor
    ) -> list[tf.Tensor]:
        """Returns fresh weights.

        Args:
            embedding_dim: D.
            num_identities: int32 scalar L >= 1, local to the virtual client.
            seed: int64 [2], key of the stateless generator.
        """

    @abc.abstractmethod
    def weight_shapes(self, embedding_dim: int) -> list[tuple]:
        """Returns the static shapes of the weights; None stands for L."""

    @abc.abstractmethod
    def loss(
        self, weights: list[tf.Tensor], embeddings: tf.Tensor, labels: tf.Tensor
    ) -> tf.Tensor:
        """Returns the mean loss of a batch, a float32 scalar.

        Args:
            weights: as returned by `initial_weights`.
            embeddings: float32 [b, D], not normalised.
            labels: int32 [b], in [0, L).
        """


def mean_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy of int labels [b] and float32 logits [b, L]."""
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


def glorot_uniform(embedding_dim: int, num_identities: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Fresh [D, L] kernel, uniform in +-sqrt(6 / (D + L)) (Glorot and Bengio, 2010)."""
    fan_sum = tf.cast(embedding_dim + num_identities, tf.float32)
    limit = tf.sqrt(6.0 / fan_sum)
    shape = tf.stack([embedding_dim, num_identities])
    return tf.random.stateless_uniform(shape, seed, -limit, limit)

"""What a classification head is: weights that live for one local fine-tuning.

A head is sized by the identities of the virtual client that trains it and is
thrown away afterwards, so it is functional rather than a Keras layer: the number
of identities is known only inside the graph.
"""

import abc
import dataclasses

import tensorflow as tf

from dp_fedemb import validate


class Head(abc.ABC):
    """A per-virtual-client classifier over local labels 0..L-1.

    Its loss is a function of scores, so that a global head whose weights are part of
    the model (DP-FedAvg, `full_model`) has the very same loss.
    """

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
    def scores(self, weights: list[tf.Tensor], embeddings: tf.Tensor) -> tf.Tensor:
        """Returns float32 [b, L], higher where an embedding fits an identity better.

        Args:
            weights: as returned by `initial_weights`.
            embeddings: [b, D], not normalised.
        """

    @abc.abstractmethod
    def loss_of_scores(self, scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns the mean loss of a batch, a float32 scalar.

        Args:
            scores: float32 [b, L], as returned by `scores`.
            labels: int32 [b], in [0, L).
        """

    def loss(
        self, weights: list[tf.Tensor], embeddings: tf.Tensor, labels: tf.Tensor
    ) -> tf.Tensor:
        """Returns the mean loss of a batch, a float32 scalar."""
        return self.loss_of_scores(self.scores(weights, embeddings), labels)


@dataclasses.dataclass(frozen=True)
class CosineHead(Head):
    """Base of the heads that compare directions: score = cos(embedding, w_identity).

    Attributes:
        scale: s, the factor of the cosines in the softmax. The probability that the
            softmax can reach, and so the least loss, depends on it: for P at L
            identities it takes s >= (L-1)/L log((L-1) P / (1-P)) (arXiv 1801.09414,
            equation 6); 5.5 for P = 0.9 and L = 32.

    Heads over whole data sets use scales of 30 to 64 and margins of 0.35 to 0.5. A fresh
    random head over few identities does not bear that: the first steps are so large that
    all embeddings fall together. Measured on Omniglot, 12 non-private rounds of 6 virtual
    clients with 32 identities each, backbone `small_conv`, client_lr 0.1, head_lr_scale
    10, 2 local epochs, one seed; the cosine is the mean over pairs of different
    identities of a virtual client after its first fine-tuning, the recall (FAR 1e-3) that
    of 150 unseen characters at the end:

        head        scale  margin  cosine  recall
        arcface        64    0.5     1.00   0.023
        cosface        64    0.35    0.98   0.091
        arcface        16    0.2     0.56   0.160
        cosface        16    0.2     0.66   0.158
        arcface         8    0.2     0.08   0.198
        cosface         8    0.2     0.09   0.202
        normalized      8     -      0.09   0.192
        normalized      4     -      0.07   0.170

    At scale 8 margins from 0.1 to 0.5 gave the same recall within 0.006.
    """

    scale: float = 8.0

    def __post_init__(self) -> None:
        validate.positive(head_scale=self.scale)

    def initial_weights(
        self, embedding_dim: int, num_identities: tf.Tensor, seed: tf.Tensor
    ) -> list[tf.Tensor]:
        return [glorot_uniform(embedding_dim, num_identities, seed)]

    def weight_shapes(self, embedding_dim: int) -> list[tuple]:
        return [(embedding_dim, None)]

    def scores(self, weights: list[tf.Tensor], embeddings: tf.Tensor) -> tf.Tensor:
        directions = tf.math.l2_normalize(tf.cast(embeddings, tf.float32), axis=1)
        return directions @ tf.math.l2_normalize(weights[0], axis=0)


class WeightlessHead(Head):
    """Base of the heads that train nothing of their own."""

    def initial_weights(
        self, embedding_dim: int, num_identities: tf.Tensor, seed: tf.Tensor
    ) -> list[tf.Tensor]:
        return []

    def weight_shapes(self, embedding_dim: int) -> list[tuple]:
        return []


@dataclasses.dataclass(frozen=True)
class PairHead(WeightlessHead):
    """Base of the losses over the pairs of a batch, which need no weights of identities.

    For virtual clients whose identities have one or two images each, where a classifier
    learns to name an image and not what two images share. A step without two images of
    one identity trains nothing: use `ClientConfig.views`, `images_per_identity`, or both.

    Attributes:
        scale: s, the factor of the cosines, one over the temperature of the papers.
    """

    scale: float = 10.0

    def __post_init__(self) -> None:
        validate.positive(head_scale=self.scale)

    def scores(self, weights: list[tf.Tensor], embeddings: tf.Tensor) -> tf.Tensor:
        """Returns the embeddings' directions, float32 [b, D]: what is compared."""
        return tf.math.l2_normalize(tf.cast(embeddings, tf.float32), axis=1)


def mean_where(mask: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Mean of `values` [b] where `mask` is true, 0 where it is nowhere."""
    kept = tf.where(mask, values, tf.zeros_like(values))
    return tf.reduce_sum(kept) / tf.maximum(tf.reduce_sum(tf.cast(mask, tf.float32)), 1.0)


def mean_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy of int labels [b] and float32 logits [b, L]."""
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


def at_label(scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mask, true in [b, L] where the column is the row's label."""
    # Not `==`, which compares tensors by identity in the graphs that TFF builds.
    return tf.equal(tf.range(tf.shape(scores)[1])[None, :], labels[:, None])


def glorot_uniform(embedding_dim: int, num_identities: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Fresh [D, L] kernel, uniform in +-sqrt(6 / (D + L)) (Glorot and Bengio, 2010)."""
    fan_sum = tf.cast(embedding_dim + num_identities, tf.float32)
    limit = tf.sqrt(6.0 / fan_sum)
    shape = tf.stack([embedding_dim, num_identities])
    return tf.random.stateless_uniform(shape, seed, -limit, limit)

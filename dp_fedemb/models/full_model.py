"""The full model, backbone and global head, that the DP-FedAvg baseline trains.

DP-FedAvg (McMahan et al. 2018, arXiv 1710.06963) clips, noises and aggregates every
weight, so its classifier over all training identities is part of the aggregated
model. Here it becomes part of the "backbone" and the local head has no weights: the
learning process, the mechanism and the accounting are those of DP-FedEmb. Labels must
then be global: 0..num_identities-1 over the whole population.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from dp_fedemb import validate
from dp_fedemb.models import embedding_model
from dp_fedemb.models import heads


class GlobalHead(tf.keras.layers.Layer):
    """A head over all identities as a Keras layer: embeddings -> scores, float32."""

    def __init__(self, head: heads.Head, num_identities: int):
        super().__init__(name='global_head', dtype='float32')
        self._head = head
        self._num_identities = num_identities

    def build(self, input_shape):
        self._head_weights = []
        for index, shape in enumerate(self._head.weight_shapes(input_shape[-1])):
            shape = [self._num_identities if size is None else size for size in shape]
            # As local heads start: matrices uniform (Glorot), offsets at zero.
            initializer = 'glorot_uniform' if len(shape) > 1 else 'zeros'
            self._head_weights.append(
                self.add_weight(f'weight{index}', shape, initializer=initializer)
            )

    def call(self, embeddings):
        weights = [tf.convert_to_tensor(weight) for weight in self._head_weights]
        return self._head.scores(weights, embeddings)


@dataclasses.dataclass(frozen=True)
class OnScores(heads.Head):
    """A local head without weights: the loss of scores that the model itself returns.

    Attributes:
        head: whose loss it is.
    """

    head: heads.Head

    def initial_weights(self, embedding_dim, num_identities, seed):
        return []

    def weight_shapes(self, embedding_dim):
        return []

    def scores(self, weights, embeddings):
        return tf.cast(embeddings, tf.float32)

    def loss_of_scores(self, scores, labels):
        return self.head.loss_of_scores(scores, labels)


def build_full_model(
    model: embedding_model.EmbeddingModel, num_identities: int
) -> embedding_model.EmbeddingModel:
    """Returns the model whose `build_backbone` is backbone and global head in one.

    Args:
        model: the embedding model; its head becomes the global one.
        num_identities: identities of all training users.
    """
    validate.positive(num_identities=num_identities)

    def build() -> tf.keras.Model:
        backbone = model.build_backbone()
        images = tf.keras.Input(model.image_shape, name='images')
        scores = GlobalHead(model.head, num_identities)(backbone(images))
        return tf.keras.Model(images, scores, name=f'{backbone.name}_and_head')

    return embedding_model.EmbeddingModel(
        build_backbone=build,
        image_shape=model.image_shape,
        embedding_dim=num_identities,
        head=OnScores(model.head),
        precision=model.precision,
    )


def backbone_weights(
    model: embedding_model.EmbeddingModel,
    trainable: list[np.ndarray],
    non_trainable: list[np.ndarray],
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Takes the backbone's weights out of a full model's: the part that is released.

    Args:
        model: the embedding model that the full model was built from.
        trainable: trainable weights of the full model.
        non_trainable: non-trainable weights of the full model.

    Returns:
        The trainable and non-trainable weights of `model.build_backbone()`.

    Raises:
        ValueError: if the weights are not those of such a full model.
    """
    num_head = len(model.head.weight_shapes(model.embedding_dim))
    trainable = list(trainable)[: len(trainable) - num_head]
    backbone = model.build_backbone()
    expected = [tuple(variable.shape) for variable in backbone.trainable_variables]
    found = [tuple(weight.shape) for weight in trainable]
    if found != expected:
        raise ValueError(
            f'weights of shapes {found} before the global head: expected those of the'
            f' backbone, {expected}'
        )
    return trainable, list(non_trainable)

"""The full model, backbone and global head, that the DP-FedAvg baseline trains.

DP-FedAvg (McMahan et al. 2018, arXiv 1710.06963) clips, noises and aggregates every
weight, so its classifier over all training identities is part of the aggregated
model. Here it becomes part of the "backbone" and the local head has no weights: the
learning process, the mechanism and the accounting are those of DP-FedEmb. Labels are
then global, of a `label_spaces.LabelSpace` that must not depend on the private users.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
import tensorflow as tf

from dp_fedemb.models import embedding_model as embedding_model_lib
from dp_fedemb.models import heads
from dp_fedemb.models import label_spaces
from dp_fedemb.models.heads import base as heads_base


class GlobalHead(tf.keras.layers.Layer):
    """A head over all labels as a Keras layer: embeddings -> scores, float32."""

    def __init__(self, head: heads.Head, num_labels: int):
        super().__init__(name='global_head', dtype='float32')
        self._head = head
        self._num_labels = num_labels

    def build(self, input_shape: Sequence[int]) -> None:
        self._head_weights = []
        for index, sizes in enumerate(self._head.weight_shapes(input_shape[-1])):
            shape = [self._num_labels if size is None else size for size in sizes]
            # As local heads start: matrices uniform (Glorot), offsets at zero.
            initializer = 'glorot_uniform' if len(shape) > 1 else 'zeros'
            self._head_weights.append(
                self.add_weight(f'weight{index}', shape, initializer=initializer)
            )

    def call(self, embeddings: tf.Tensor) -> tf.Tensor:
        weights = [tf.convert_to_tensor(weight) for weight in self._head_weights]
        return self._head.scores(weights, embeddings)


@dataclasses.dataclass(frozen=True)
class OnScores(heads_base.WeightlessHead):
    """A local head without weights: the loss of scores that the model itself returns.

    Attributes:
        head: whose loss it is.
    """

    head: heads.Head

    def scores(self, weights: list[tf.Tensor], embeddings: tf.Tensor) -> tf.Tensor:
        return tf.cast(embeddings, tf.float32)

    def loss_of_scores(self, scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return self.head.loss_of_scores(scores, labels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FullModel(embedding_model_lib.EmbeddingModel):
    """Backbone and global head in one `build_backbone`; make it with `build_full_model`.

    Attributes:
        embedding_model: whose backbone is released.
        label_space: of the global head.
    """

    embedding_model: embedding_model_lib.EmbeddingModel
    label_space: label_spaces.LabelSpace

    @property
    def public_labels(self) -> bool:
        return self.label_space.public

    def identity_labels(self, identity_names: Sequence[str]) -> np.ndarray:
        return self.label_space.labels(identity_names)

    def start(
        self, backbone: embedding_model_lib.Weights, seed: int
    ) -> embedding_model_lib.Weights:
        trainable, non_trainable = backbone
        with_head, _ = self.initial_weights(seed)
        return [*trainable, *with_head[len(trainable) :]], non_trainable

    def released(self, weights: embedding_model_lib.Weights) -> embedding_model_lib.Weights:
        """Returns the backbone's weights.

        Raises:
            ValueError: if the weights are not those of this full model.
        """
        trainable, non_trainable = weights
        model = self.embedding_model
        num_head = len(model.head.weight_shapes(model.embedding_dim))
        trainable = list(trainable)[: len(trainable) - num_head]
        expected = [tuple(spec.shape) for spec in model.record_specs()]
        found = [tuple(weight.shape) for weight in trainable]
        if found != expected:
            raise ValueError(
                f'weights of shapes {found} before the global head: expected those of the'
                f' backbone, {expected}'
            )
        return trainable, list(non_trainable)


def build_full_model(
    model: embedding_model_lib.EmbeddingModel, label_space: label_spaces.LabelSpace
) -> FullModel:
    """Returns the model whose `build_backbone` is backbone and global head in one.

    Args:
        model: the embedding model; its head becomes the global one.
        label_space: of the global head. One that is not public leaves no guarantee.

    Raises:
        ValueError: for a head without weights, which nobody can share.
    """
    if not model.head.weight_shapes(model.embedding_dim):
        raise ValueError(
            f'algorithm=fedavg with a head that all share: {type(model.head).__name__} has no'
            ' weights to share; choose linear, normalized, cosface or arcface'
        )

    def build() -> tf.keras.Model:
        backbone = model.build_backbone()
        taken = model.backbone_input()
        examples = tf.keras.Input(taken.shape[1:], dtype=taken.dtype, name='examples')
        scores = GlobalHead(model.head, label_space.size)(backbone(examples))
        return tf.keras.Model(examples, scores, name=f'{backbone.name}_and_head')

    return FullModel(
        build_backbone=build,
        example_spec=model.example_spec,
        embedding_dim=label_space.size,
        head=OnScores(model.head),
        precision=model.precision,
        preprocess=model.preprocess,
        embedding_model=model,
        label_space=label_space,
    )

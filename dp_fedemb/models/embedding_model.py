"""The embedding model: a Keras backbone, a local head and the input pipeline."""

from collections.abc import Callable
import dataclasses

import numpy as np
import tensorflow as tf

from dp_fedemb.models import heads
from dp_fedemb.models import initial_weights


@dataclasses.dataclass(frozen=True)
class EmbeddingModel:
    """What DP-FedEmb trains; builds itself anew in every graph that needs it.

    Attributes:
        build_backbone: no-argument function returning a Keras model that maps
            float32 images [n, H, W, C] in [0, 1] to embeddings [n, D]. Called
            once per graph; it must return the same architecture each time.
        image_shape: (H, W, C) of the uint8 images that clients hold.
        embedding_dim: D.
        head: the per-virtual-client classifier.
    """

    build_backbone: Callable[[], tf.keras.Model]
    image_shape: tuple[int, int, int]
    embedding_dim: int
    head: heads.Head

    def initial_weights(self, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the backbone's weights before training, the same for the same seed.

        Args:
            seed: any integer of at least 0.

        Returns:
            Trainable and non-trainable weights, in the order of the Keras model's
            `trainable_variables` and `non_trainable_variables`.
        """
        return initial_weights.initial_weights(self.build_backbone, seed)


def preprocess(images: tf.Tensor) -> tf.Tensor:
    """Maps uint8 images [..., H, W, C] in 0..255 to float32 in [0, 1]."""
    return tf.cast(images, tf.float32) * (1.0 / 255.0)


class ServingModel(tf.Module):
    """The released model: uint8 images in, unit-norm embeddings out.

    Attributes:
        backbone: the Keras backbone whose weights are released.
    """

    def __init__(self, backbone: tf.keras.Model, image_shape: tuple[int, int, int]):
        super().__init__(name='embedding_model')
        self.backbone = backbone
        self._signature = tf.TensorSpec([None, *image_shape], tf.uint8, name='images')
        self._serve = tf.function(self._embed, input_signature=[self._signature])

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps uint8 images [n, H, W, C] to {'embeddings': float32 [n, D]}."""
        return self._serve(images)

    def _embed(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        embeddings = self.backbone(preprocess(images), training=False)
        embeddings = tf.cast(embeddings, tf.float32)
        return {'embeddings': tf.math.l2_normalize(embeddings, axis=-1)}

    def save(self, directory: str) -> None:
        """Writes a SavedModel whose signature is `images` -> `embeddings`."""
        tf.saved_model.save(self, directory, signatures={'serving_default': self._serve})

"""Self-supervised pretraining, for public images without identities.

Chen, Kornblith, Norouzi, Hinton, *A Simple Framework for Contrastive Learning of
Visual Representations*, ICML 2020 (arXiv 2002.05709): two random views of an image
must find each other among all views of the batch. The projection on top of the
embedding, where the loss is measured, is thrown away.
"""

import functools
import itertools
from typing import Any, Optional

import tensorflow as tf

from dp_fedemb import data
from dp_fedemb import randomness
from dp_fedemb import validate
from dp_fedemb.learning import augmentation
from dp_fedemb.models import embedding_model
from dp_fedemb.models import weight_values
from dp_fedemb.models.heads import base as heads_base
from dp_fedemb.pretraining import settings
from dp_fedemb.pretraining import supervised
from dp_fedemb.pretraining import training_loop


def nt_xent(first: tf.Tensor, second: tf.Tensor, temperature: float) -> tf.Tensor:
    """Normalised temperature-scaled cross-entropy (Chen et al., eq. 1), mean over 2b.

    Args:
        first: float32 [b, P], projections of one view of each image.
        second: float32 [b, P], projections of the other view.
        temperature: tau > 0.

    Returns:
        float32 scalar.
    """
    count = tf.shape(first)[0]
    views = tf.math.l2_normalize(tf.concat([first, second], axis=0), axis=1)
    logits = tf.matmul(views, views, transpose_b=True) / temperature
    # A view is not its own negative.
    logits = tf.linalg.set_diag(logits, tf.fill([2 * count], logits.dtype.min))
    partner = tf.concat([tf.range(count, 2 * count), tf.range(count)], axis=0)
    return heads_base.mean_cross_entropy(partner, logits)


class _Contrastive(training_loop.Objective):
    """NT-Xent on a two-layer projection of the embedding."""

    def __init__(
        self,
        model: embedding_model.EmbeddingModel,
        config: settings.TrainingConfig,
        temperature: float,
        projection_dim: int,
        seed: int,
    ) -> None:
        assert config.augmentation is not None  # `train` refuses it.
        self._temperature = temperature
        self._augmentation = config.augmentation
        sizes = [model.embedding_dim, model.embedding_dim, projection_dim]
        self.variables = []
        for index, (rows, columns) in enumerate(itertools.pairwise(sizes)):
            key = tf.constant(randomness.tf_seed(seed, 'simclr/projection', index))
            kernel = heads_base.glorot_uniform(rows, tf.constant(columns), key)
            self.variables += [
                tf.Variable(kernel, name=f'projection{index}/kernel'),
                tf.Variable(tf.zeros([columns]), name=f'projection{index}/bias'),
            ]

    def loss(
        self, embed: training_loop.Embed, images: tf.Tensor, labels: tf.Tensor, key: tf.Tensor
    ) -> tf.Tensor:
        del labels  # Self-supervised.
        pairs = tf.concat([images, images], axis=0)
        embeddings = embed(augmentation.augment(pairs, self._augmentation, key))
        kernel0, bias0, kernel1, bias1 = self.variables
        hidden = tf.nn.relu(embeddings @ kernel0 + bias0)
        first, second = tf.split(hidden @ kernel1 + bias1, 2)
        return nt_xent(first, second, self._temperature)


def train(
    model: embedding_model.EmbeddingModel,
    store: data.UserStore,
    config: settings.TrainingConfig,
    seed: int = 0,
    initial: Optional[weight_values.WeightValues] = None,
    *,
    temperature: float = 0.5,
    projection_dim: int = 64,
) -> tuple[weight_values.WeightValues, list[dict[str, Any]]]:
    """Trains the backbone without looking at identities.

    Args:
        model: what is trained; its head plays no part.
        store: the images.
        config: optimisation; `augmentation` makes the views, so there must be one.
        seed: as in `supervised.train`.
        initial: start of the backbone; fresh by default.
        temperature: tau of the loss.
        projection_dim: P.

    Returns:
        (trainable, non_trainable) values of the backbone, and one row per pass (see
        `training_loop.fit`).

    Raises:
        ValueError: without an augmentation, for a batch that is larger than the
            store, or training that diverges.
    """
    validate.positive(temperature=temperature, projection_dim=projection_dim)
    if not config.augmentation:
        raise ValueError(
            "augmentation='none': expected one with some change, since SimCLR learns from two"
            ' views of an image'
        )
    if not 2 <= config.batch_size <= store.num_examples:
        raise ValueError(
            f'batch_size={config.batch_size}: expected 2 to {store.num_examples}, the images of'
            ' the store, since the others of a batch are the negatives'
        )
    build = functools.partial(_Contrastive, model, config, temperature, projection_dim, seed)
    return supervised.run(
        model,
        store,
        config,
        seed,
        initial,
        build,
        f'SimCLR on {store.num_examples:,} images',
    )

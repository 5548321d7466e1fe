"""Supervised training on all images at once: softmax over the store's identities.

On public images it is the pretraining; on the training users' images it is the
centralised baseline, which is NOT PRIVATE. Same code, so the two compare.
"""

from collections.abc import Callable
from typing import Any, Optional

import tensorflow as tf

from dp_fedemb import data
from dp_fedemb import randomness
from dp_fedemb.learning import augmentation
from dp_fedemb.models import embedding_model
from dp_fedemb.models import weight_values
from dp_fedemb.pretraining import settings
from dp_fedemb.pretraining import training_loop


class _Classification(training_loop.Objective):
    """The model's head over all identities of a store."""

    def __init__(
        self,
        model: embedding_model.EmbeddingModel,
        num_identities: int,
        config: settings.TrainingConfig,
        seed: int,
    ) -> None:
        self._head = model.head
        self._augmentation = config.augmentation
        start = model.head.initial_weights(
            model.embedding_dim,
            tf.constant(num_identities),
            tf.constant(randomness.tf_seed(seed, 'centralized/head')),
        )
        self.variables = [tf.Variable(value, name='head') for value in start]

    def loss(
        self, embed: training_loop.Embed, images: tf.Tensor, labels: tf.Tensor, key: tf.Tensor
    ) -> tf.Tensor:
        if self._augmentation:
            images = augmentation.augment(images, self._augmentation, key)
        weights = [tf.convert_to_tensor(variable) for variable in self.variables]
        return self._head.loss(weights, embed(images), labels)


def train(
    model: embedding_model.EmbeddingModel,
    store: data.UserStore,
    config: settings.TrainingConfig = settings.TrainingConfig(),
    seed: int = 0,
    initial: Optional[weight_values.WeightValues] = None,
) -> tuple[weight_values.WeightValues, list[dict[str, Any]]]:
    """Trains backbone and head together; the head is thrown away.

    Args:
        model: what is trained; frozen weights keep their value.
        store: images and identities. Users are ignored.
        config: optimisation.
        seed: of the fresh weights, the order and the augmentation. Same seed, same
            weights, up to the rounding of sums that several threads share.
        initial: start of the backbone; fresh by default.

    Returns:
        (trainable, non_trainable) values of the backbone, and one row per pass (see
        `training_loop.fit`).

    Raises:
        ValueError: for images of another shape, or training that diverges.
    """
    return run(
        model,
        store,
        config,
        seed,
        initial,
        lambda: _Classification(model, store.num_identities, config, seed),
        f'training on {store.num_identities:,} identities',
    )


def run(
    model: embedding_model.EmbeddingModel,
    store: data.UserStore,
    config: settings.TrainingConfig,
    seed: int,
    initial: Optional[weight_values.WeightValues],
    build_objective: Callable[[], training_loop.Objective],
    description: str,
) -> tuple[weight_values.WeightValues, list[dict[str, Any]]]:
    """Trains with any objective; see `train` for the arguments they share."""
    if store.example_spec != model.example_spec:
        raise ValueError(
            f'example_spec={model.example_spec}: expected {store.example_spec}, that of the'
            f' examples in {store.path}'
        )
    if config.augmentation and not model.example_spec.is_image:
        raise ValueError(
            f'augmentation={config.augmentation}: expected none, for it changes images, and'
            f' the examples are {model.example_spec}'
        )
    start = model.initial_weights(seed) if initial is None else initial
    backbone = model.build_local_backbone()
    weight_values.assign(backbone, *start)
    objective = build_objective()
    history = training_loop.fit(
        backbone, objective, store, config, seed, description, model.preprocess
    )
    return weight_values.get(backbone), history

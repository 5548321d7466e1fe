"""Centralised training of a backbone: a plain TensorFlow loop over a store's images.

Users play no part here, and nothing is private. Each step's images are read inside
the graph from the packed store, and the batch passes the backbone in one piece per
core: operations on a piece are too small to keep two cores busy by themselves.
"""

import abc
from collections.abc import Callable, Iterator
import itertools
import time
from typing import Any

import numpy as np
import tensorflow as tf

from dp_fedemb import data
from dp_fedemb import environment
from dp_fedemb import progress
from dp_fedemb import randomness
from dp_fedemb.data import virtual_clients
from dp_fedemb.learning import fused_optimizers
from dp_fedemb.learning import schedules
from dp_fedemb.models import embedding_model
from dp_fedemb.pretraining import settings

# Steps per call into the graph: enough to hide the call, few enough for the bar.
_STEPS_PER_CALL = 20


def rate_at(config: settings.TrainingConfig, step: tf.Tensor, total: int) -> tf.Tensor:
    """Returns the backbone's learning rate in a step (from 0) of `total`."""
    step = tf.cast(step, tf.float32)
    factor = schedules.SCHEDULES[config.schedule](step, float(total))
    warmup = max(config.warmup * total, 1.0)
    return config.learning_rate * factor * tf.minimum((step + 1) / warmup, 1.0)


# Name (as in --optimizer) -> function(variables, config).
OPTIMIZERS = {
    'adam': lambda variables, config: fused_optimizers.Adam(variables),
    'sgd': lambda variables, config: fused_optimizers.Momentum(variables, config.momentum),
}


# The backbone of the running step: preprocessed images -> float32 [n, D].
Embed = Callable[[tf.Tensor], tf.Tensor]


class Objective(abc.ABC):
    """What is minimised, with the weights that are thrown away afterwards.

    Attributes:
        variables: weights beside the backbone's, trained with it.
    """

    variables: list[tf.Variable]

    @abc.abstractmethod
    def loss(
        self, embed: Embed, images: tf.Tensor, labels: tf.Tensor, key: tf.Tensor
    ) -> tf.Tensor:
        """Returns the loss of a batch, a float32 scalar.

        Args:
            embed: maps float32 images [n, H, W, C] to embeddings [n, D].
            images: float32 [b, H, W, C] in [0, 1], as stored.
            labels: int32 [b], identities in the store.
            key: int64 [2], the step's key for stateless generators.
        """


def fit(
    backbone: tf.keras.Model,
    objective: Objective,
    store: data.UserStore,
    config: settings.TrainingConfig,
    seed: int,
    description: str = 'training',
    preprocess: Callable[[tf.Tensor], tf.Tensor] = embedding_model.preprocess,
) -> list[dict[str, Any]]:
    """Trains the backbone's trainable weights in place.

    Args:
        backbone: Keras model; frozen weights stay as they are.
        objective: what is minimised.
        store: the images. Users are ignored.
        config: how.
        seed: keys the order of the images and the augmentation.
        description: of the progress bar.
        preprocess: the model's.

    Returns:
        One row per pass over the images: `epoch`, `step`, `images` seen so far,
        `loss` (mean over the steps of the pass), `learning_rate` of its last step,
        `seconds` it took and `images_per_second`.

    Raises:
        ValueError: if the loss is not finite any more.
    """
    loop = _Loop(backbone, objective, store, config, seed, preprocess)
    total = config.steps(store.num_examples)
    rows = _row_stream(store.num_examples, config, seed)
    history = []
    step = 0
    with progress.bar(total * config.batch_size, description, 'image') as bar:
        for epoch in range(1, int(np.ceil(config.epochs)) + 1):
            end = min(total, round(epoch * store.num_examples / config.batch_size))
            end = total if epoch >= config.epochs else end
            if end > step:
                history.append(_pass(loop, rows, config, epoch, step, end, bar))
                step = end
    return history


def _pass(
    loop: '_Loop',
    rows: Iterator[np.ndarray],
    config: settings.TrainingConfig,
    epoch: int,
    start: int,
    end: int,
    bar: Any,
) -> dict[str, Any]:
    began = time.perf_counter()
    losses = []
    for step in range(start, end, _STEPS_PER_CALL):
        count = min(_STEPS_PER_CALL, end - step)
        batches = np.stack([next(rows) for _ in range(count)])
        losses.append(loop.run(tf.constant(batches)).numpy())
        bar.update(batches.size)
        if not np.all(np.isfinite(losses[-1])):
            raise ValueError(
                f'learning_rate={config.learning_rate}: the loss is not finite after'
                f' {step + count} steps; expected a lower rate, or a warmup'
            )
        bar.set_postfix(epoch=epoch, loss=f'{losses[-1].mean():.3f}', refresh=False)
    seconds = time.perf_counter() - began
    images = (end - start) * config.batch_size
    return {
        'epoch': epoch,
        'step': end,
        'images': end * config.batch_size,
        'loss': float(np.concatenate(losses).mean()),
        'learning_rate': float(rate_at(config, tf.constant(end - 1), loop.total)),
        'seconds': seconds,
        'images_per_second': images / seconds,
    }


def _row_stream(
    num_examples: int, config: settings.TrainingConfig, seed: int
) -> Iterator[np.ndarray]:
    """Yields int64 [batch_size]: shuffled passes, one after the other without a gap."""
    pending = np.zeros(0, np.int64)
    epoch = 0
    while True:
        while len(pending) < config.batch_size:
            generator = randomness.generator(seed, 'centralized/order', epoch)
            pending = np.concatenate([pending, generator.permutation(num_examples)])
            epoch += 1
        yield pending[: config.batch_size]
        pending = pending[config.batch_size :]


class _Loop:
    """The graph of one training."""

    def __init__(
        self,
        backbone: tf.keras.Model,
        objective: Objective,
        store: data.UserStore,
        config: settings.TrainingConfig,
        seed: int,
        preprocess: Callable[[tf.Tensor], tf.Tensor],
    ) -> None:
        self._preprocess = preprocess
        self._backbone = backbone
        self._objective = objective
        self._store = store
        self._config = config
        self._labels = tf.constant(store.identities, tf.int32)
        self._key = randomness.tf_seed(seed, 'centralized/steps')
        self._pieces = min(environment.usable_cores(), config.batch_size)
        self.total = config.steps(store.num_examples)
        # Groups of weights, each with its own rate.
        self._groups = [
            (variables, OPTIMIZERS[config.optimizer](variables, config), scale)
            for variables, scale in (
                (backbone.trainable_variables, 1.0),
                (objective.variables, config.head_lr_scale),
            )
        ]
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        spec = tf.TensorSpec([None, config.batch_size], tf.int64)
        self.run = tf.function(self._run, input_signature=[spec])

    def _run(self, batches: tf.Tensor) -> tf.Tensor:
        """Runs a step for each row of `batches`; returns the losses, float32 [steps]."""
        store = self._store
        # A memory map: neither a copy of the file nor a tensor in the graph.
        examples = virtual_clients.map_examples(store)
        losses = tf.TensorArray(tf.float32, size=tf.shape(batches)[0])
        for index in tf.range(tf.shape(batches)[0]):
            rows = batches[index]
            batch = self._preprocess(tf.gather(examples, rows))
            loss = self._train(batch, tf.gather(self._labels, rows))
            losses = losses.write(index, loss)
        return losses.stack()

    def _train(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        key = tf.random.fold_in(self._key, self._step)
        groups = [variables for variables, _, _ in self._groups]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variables in groups:
                tape.watch(variables)
            loss = self._objective.loss(self._embed, images, labels, key)
            if self._backbone.losses:
                loss += tf.add_n(self._backbone.losses)
        rate = rate_at(self._config, self._step, self.total)
        for (_, optimizer, scale), gradients in zip(
            self._groups, tape.gradient(loss, groups, unconnected_gradients='zero')
        ):
            optimizer.apply(gradients, scale * rate, self._step)
        self._step.assign_add(1)
        return loss

    def _embed(self, images: tf.Tensor) -> tf.Tensor:
        """Embeds a batch in pieces, which the graph runs side by side."""
        bounds = np.linspace(0, images.shape[0], self._pieces + 1).astype(int)
        parts = [
            tf.cast(self._backbone(images[start:end], training=True), tf.float32)
            for start, end in itertools.pairwise(bounds)
        ]
        return tf.concat(parts, axis=0)

"""What one virtual client does in a round: fine-tune backbone and fresh head.

Xu et al. (CVPR 2023), Algorithm 1, the client's part. Pure TensorFlow, so that
the TFF process and the in-process engine run the very same function.
"""

import collections
import functools
from typing import Any, Optional

import tensorflow as tf

from dp_fedemb import data
from dp_fedemb.learning import augmentation
from dp_fedemb.learning import batch_order
from dp_fedemb.learning import client_config
from dp_fedemb.learning import schedules
from dp_fedemb.models import embedding_model


def virtual_client_spec(example_spec: data.example_spec.SpecLike) -> collections.OrderedDict:
    """Type of one virtual client's data, an element of a client's sequence.

    Args:
        example_spec: shape and type of an example.

    Returns:
        `examples` [n, *shape]; `labels` int32 [n], local to the virtual client, 0..L-1;
        `seed` int64 [2], which keys its head's start and its batch order.
    """
    spec = data.ExampleSpec.of(example_spec)
    return collections.OrderedDict(
        examples=tf.TensorSpec([None, *spec.shape], spec.dtype),
        labels=tf.TensorSpec([None], tf.int32),
        seed=tf.TensorSpec([2], tf.int64),
    )


def check(model: embedding_model.EmbeddingModel, config: client_config.ClientConfig) -> None:
    """Raises ValueError where the model cannot be fine-tuned as the settings say."""
    if config.augmentation and not model.example_spec.is_image:
        raise ValueError(
            f'augmentation={config.augmentation}: expected none, for it changes images, and'
            f' the examples are {model.example_spec}'
        )


class LocalFineTuning:
    """Owns one set of model variables and fine-tunes virtual clients in turn.

    The variables are scratch space: every call starts by overwriting them, so a
    virtual client sees nothing of the one before it.
    """

    def __init__(
        self, model: embedding_model.EmbeddingModel, config: client_config.ClientConfig
    ):
        """Creates the variables in the current graph (or eagerly).

        Raises:
            ValueError: see `check`.
        """
        check(model, config)
        self._config = config
        self._head = model.head
        self._preprocess = model.preprocess
        self._embedding_dim = model.embedding_dim
        self._backbone = model.build_local_backbone()
        # A head is carried through the steps as tensors. As variables whose shape changes
        # with every virtual client, TensorFlow took their shape from an earlier one.
        self._head_shapes = [
            tf.TensorShape(shape) for shape in model.head.weight_shapes(model.embedding_dim)
        ]
        self._backbone_weights = self._backbone.trainable_variables
        self._momenta = []
        if config.momentum > 0:
            self._momenta = [
                # From a constant: initial values that read other variables have no order
                # among the initializers that TFF runs.
                tf.Variable(tf.zeros(weight.shape.as_list()), trainable=False)
                for weight in self._backbone_weights
            ]

    @property
    def backbone(self) -> tf.keras.Model:
        """The Keras model whose variables are overwritten by each call."""
        return self._backbone

    def load_frozen(self, frozen: list[tf.Tensor]) -> None:
        """Sets the weights that no client trains, which are the same all round long."""
        for variable, value in zip(self._backbone.non_trainable_variables, frozen):
            variable.assign(value)

    def update(
        self, theta: list[tf.Tensor], client: collections.OrderedDict, learning_rate: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Fine-tunes on one virtual client.

        Args:
            theta: the round's trainable backbone weights.
            client: as specified by `virtual_client_spec`; may have no examples, and
                then the update is zero. With a further entry `rows`, int64 [n], its
                examples are those rows of `examples`.
            learning_rate: float32 scalar, the backbone's in this round, before the
                schedule of local steps.

        Returns:
            theta minus the fine-tuned backbone weights (a pseudo-gradient, the sign
            that `tff.learning.optimizers` expect), and the mean loss over the steps
            (float32 scalar, 0 without examples). The head is not returned.
        """
        config = self._config
        examples, labels, seed = client['examples'], client['labels'], client['seed']
        num_examples = tf.shape(labels)[0]
        head = self._start(theta, labels, seed)
        head_momenta = [tf.zeros_like(weight) for weight in head if self._momenta]
        steps_per_epoch = -(-num_examples // config.batch_size)
        num_steps = steps_per_epoch * config.local_epochs
        loss_sum = 0.0
        order = tf.range(num_examples)
        for step in tf.range(num_steps):
            tf.autograph.experimental.set_loop_options(
                shape_invariants=[
                    (head, self._head_shapes),
                    (head_momenta, self._head_shapes[: len(head_momenta)]),
                ]
            )
            epoch, position = step // steps_per_epoch, step % steps_per_epoch
            # Not `position == 0`: in the graphs that TFF builds, `==` compares tensors by
            # identity, and nothing would ever be shuffled.
            if tf.equal(position, 0):
                order = batch_order.shuffled(
                    labels, _key(seed, epoch), config.images_per_identity
                )
            batch = order[position * config.batch_size : (position + 1) * config.batch_size]
            if config.views > 1:
                batch = tf.repeat(batch, config.views)
            rows = tf.gather(client['rows'], batch) if 'rows' in client else batch
            loss, head, head_momenta = self._step(
                self._inputs(tf.gather(examples, rows), seed, step),
                tf.gather(labels, batch),
                step,
                self._rate_at(step, num_steps, learning_rate),
                head,
                head_momenta,
            )
            loss_sum += loss
        delta = [start - weight for start, weight in zip(theta, self._backbone_weights)]
        return delta, loss_sum / tf.maximum(tf.cast(num_steps, tf.float32), 1.0)

    def _start(
        self, theta: list[tf.Tensor], labels: tf.Tensor, seed: tf.Tensor
    ) -> list[tf.Tensor]:
        """Overwrites the variables; returns a fresh head."""
        for variable, value in zip(self._backbone_weights, theta):
            variable.assign(value)
        for momentum, value in zip(self._momenta, theta):
            momentum.assign(tf.zeros_like(value))
        num_identities = tf.reduce_max(tf.concat([labels, [0]], axis=0)) + 1
        fresh = self._head.initial_weights(self._embedding_dim, num_identities, seed)
        return [tf.ensure_shape(v, shape) for v, shape in zip(fresh, self._head_shapes)]

    def _inputs(self, examples: tf.Tensor, seed: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """What the backbone takes in a step: preprocessed and, if asked, changed."""
        inputs = self._preprocess(examples)
        if not self._config.augmentation:
            return inputs
        # Keys of epochs count up from 0, those of augmented steps down from -1.
        return augmentation.augment(inputs, self._config.augmentation, _key(seed, -1 - step))

    def _rate_at(
        self, step: tf.Tensor, num_steps: tf.Tensor, learning_rate: tf.Tensor
    ) -> tf.Tensor:
        """The backbone's rate in a step (from 0) of all those of this virtual client."""
        name = self._config.local_lr_schedule
        if name == 'constant':
            return learning_rate  # Not times 1: a step has no operation to spare.
        return learning_rate * schedules.SCHEDULES[name](step, num_steps)

    def _step(
        self,
        examples: tf.Tensor,
        labels: tf.Tensor,
        step: tf.Tensor,
        learning_rate: tf.Tensor,
        head: list[tf.Tensor],
        head_momenta: list[tf.Tensor],
    ) -> Any:
        # A step that trains no weight at all would be lost.
        head_only_steps = self._config.head_only_steps if self._head_shapes else 0
        train = functools.partial(
            self._train, examples, labels, learning_rate, head, head_momenta
        )
        if head_only_steps == 0:
            return train(joint=True)
        return tf.cond(
            step < head_only_steps, lambda: train(joint=False), lambda: train(joint=True)
        )

    def _train(
        self,
        examples: tf.Tensor,
        labels: tf.Tensor,
        learning_rate: tf.Tensor,
        head: list[tf.Tensor],
        head_momenta: list[tf.Tensor],
        *,
        joint: bool,
    ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
        """One SGD step on the head, and on the backbone too if `joint`.

        Returns:
            The loss, and the head and its momenta after the step.
        """
        variables = self._backbone_weights if joint else []
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([*variables, *head])
            embeddings = tf.cast(self._backbone(examples, training=True), tf.float32)
            loss = self._head.loss(head, embeddings, labels)
            if joint and self._backbone.losses:
                loss += tf.add_n(self._backbone.losses)
        gradients, head_gradients = tape.gradient(loss, (variables, head))
        momentum = self._config.momentum
        for index, (variable, gradient) in enumerate(zip(variables, gradients)):
            slot = self._momenta[index] if self._momenta else None
            _apply(variable, gradient, learning_rate, slot, momentum)
        steps = head_gradients
        if head_momenta:
            steps = head_momenta = [
                momentum * slot + gradient
                for slot, gradient in zip(head_momenta, head_gradients)
            ]
        head_rate = learning_rate * self._config.head_lr_scale
        return loss, [w - head_rate * step for w, step in zip(head, steps)], head_momenta


def _key(seed: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    return tf.random.fold_in(seed, tf.cast(index, tf.int64))


def _apply(
    variable: tf.Variable,
    gradient: tf.Tensor,
    rate: tf.Tensor,
    momentum: Optional[tf.Variable],
    momentum_rate: float,
) -> None:
    """Fused in-place update; `assign` arithmetic cost a quarter of the throughput."""
    if momentum is None:
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
    else:
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=momentum.handle,
            lr=rate,
            grad=gradient,
            momentum=momentum_rate,
        )

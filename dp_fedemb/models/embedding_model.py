"""The embedding model: preprocessing, a Keras backbone and a local head."""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Optional

import numpy as np
import tensorflow as tf

from dp_fedemb import data
from dp_fedemb import validate
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.models import heads
from dp_fedemb.models import initial_weights
from dp_fedemb.models import saved_model
from dp_fedemb.models import validator
from dp_fedemb.models import weight_counts

# Name (as in --precision) -> Keras policy of local steps.
PRECISIONS = {
    'float32': 'float32',
    'bfloat16': 'mixed_bfloat16',
}

# Trainable and non-trainable, each in the order of the Keras model's.
Weights = tuple[list[np.ndarray], list[np.ndarray]]


def preprocess(examples: tf.Tensor) -> tf.Tensor:
    """Maps uint8 [n, ...] in 0..255 to float32 in [0, 1]; leaves other types alone."""
    if examples.dtype != tf.uint8:
        return examples
    return tf.cast(examples, tf.float32) * (1.0 / 255.0)


@dataclasses.dataclass(frozen=True)
class EmbeddingModel:
    """What DP-FedEmb trains; builds itself anew in every graph that needs it.

    Attributes:
        build_backbone: no-argument function returning a Keras model that maps
            what `preprocess` returns (of images: float32 [n, H, W, C] in [0, 1]) to
            embeddings [n, D]. Called once per graph; it must return the same
            architecture each time. What it returns is checked (`validator`) whenever
            it is called.
        example_spec: shape and type of the examples that clients hold; a bare shape, as
            (H, W, C), is that of uint8 images.
        embedding_dim: D.
        head: the per-virtual-client classifier.
        precision: of local steps, a key of `PRECISIONS`. Weights, updates, serving
            and evaluation are float32 always.
        preprocess: pure TensorFlow function from a batch of examples to what the
            backbone takes, in training, evaluation and the released model alike.
    """

    build_backbone: Callable[[], tf.keras.Model]
    example_spec: data.ExampleSpec
    embedding_dim: int
    head: heads.Head
    precision: str = 'float32'
    preprocess: Callable[[tf.Tensor], tf.Tensor] = preprocess

    def __post_init__(self) -> None:
        validate.one_of('precision', self.precision, PRECISIONS)
        validate.positive(embedding_dim=self.embedding_dim)
        object.__setattr__(self, 'example_spec', data.ExampleSpec.of(self.example_spec))
        build, taken = self.build_backbone, self.backbone_input()

        def build_checked() -> tf.keras.Model:
            backbone = build()
            validator.check(backbone, taken, self.embedding_dim)
            return backbone

        object.__setattr__(self, 'build_backbone', build_checked)

    def backbone_input(self) -> tf.TensorSpec:
        """Returns the type [None, ...] of what the backbone takes."""
        with tf.Graph().as_default():
            batch = tf.compat.v1.placeholder(
                self.example_spec.dtype, [None, *self.example_spec.shape]
            )
            taken = self.preprocess(batch)
        return tf.TensorSpec([None, *taken.shape[1:]], taken.dtype)

    def serving_model(self) -> 'ServingModel':
        """Builds the model that is released, with fresh weights."""
        return ServingModel(self.build_backbone(), self.example_spec, self.preprocess)

    def build_local_backbone(self) -> tf.keras.Model:
        """Builds the backbone for local steps, in the model's precision.

        Its variables are float32 and in the order of those of `build_backbone`; only
        what is computed with them is rounded.
        """
        # Keras keeps the policy per process; builders need not know of it.
        before = tf.keras.mixed_precision.global_policy()
        tf.keras.mixed_precision.set_global_policy(PRECISIONS[self.precision])
        try:
            return self.build_backbone()
        finally:
            tf.keras.mixed_precision.set_global_policy(before)

    def initial_weights(self, seed: int) -> Weights:
        """Returns the backbone's weights before training, the same for the same seed.

        Args:
            seed: any integer of at least 0.

        Returns:
            Trainable and non-trainable weights, in the order of the Keras model's
            `trainable_variables` and `non_trainable_variables`.
        """
        return initial_weights.initial_weights(self.build_backbone, seed)

    @property
    def public_labels(self) -> bool:
        """Whether the shapes of what is aggregated are the same whatever users there are."""
        return True

    def identity_labels(self, identity_names: Sequence[str]) -> Optional[np.ndarray]:
        """Returns int32 labels of identities for a head that all share, None if local.

        Local labels count the identities of each virtual client from 0.
        """
        del identity_names
        return None

    def start(self, backbone: Weights, seed: int) -> Weights:
        """Returns the weights of what is aggregated, from those of the backbone.

        Args:
            backbone: trainable and non-trainable weights of the released backbone.
            seed: of weights that the backbone does not have.
        """
        del seed
        return backbone

    def released(self, weights: Weights) -> Weights:
        """Returns the released backbone's weights out of those that are aggregated.

        Args:
            weights: trainable and non-trainable weights.
        """
        return weights

    def record_specs(self) -> list[tf.TensorSpec]:
        """Returns the specs of the trained weights: of what one update is made of."""
        return [
            tf.TensorSpec(weight.shape, weight.dtype)
            for weight in self.build_backbone().trainable_variables
        ]

    def weight_counts(self) -> weight_counts.WeightCounts:
        """Counts the backbone's weights: all, trained (and so noised), frozen."""
        return weight_counts.count(self.build_backbone())


class ServingModel:
    """The released model: examples (as uint8 images) in, unit-norm embeddings out.

    Its graph is traced once, here: Keras refuses to run a model built eagerly after
    another one was built in a graph, as TFF does.

    Attributes:
        backbone: the Keras backbone whose weights are released.
        example_spec: what it takes.
    """

    def __init__(
        self,
        backbone: tf.keras.Model,
        example_spec: data.example_spec.SpecLike,
        preprocess: Callable[[tf.Tensor], tf.Tensor] = preprocess,
    ):
        self.backbone = backbone
        self.example_spec = spec = data.ExampleSpec.of(example_spec)
        self._preprocess = preprocess
        name = 'images' if spec.is_image else 'examples'
        self._batch = tf.TensorSpec([None, *spec.shape], spec.dtype, name=name)
        traced = tf.function(self._embed, input_signature=[self._batch]).get_concrete_function()
        self._dim = traced.structured_outputs['embeddings'].shape[-1]
        # Saving traces again; what it then meets is a graph and not the Keras model.
        self._function = tf.function(lambda batch: traced(batch), input_signature=[self._batch])

    def __call__(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps examples [n, *shape] to {'embeddings': float32 [n, D]}.

        Raises:
            ValueError: for examples of another shape, or of a type whose meaning is not
                certain; of images, floats within 0..1 are taken as well.
        """
        if tf.is_symbolic_tensor(examples):
            return self._function(examples)
        batch = self.example_spec.taken(examples)
        if not len(batch):
            return {'embeddings': tf.zeros([0, self._dim])}
        return self._function(batch)

    def _embed(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        embeddings = self.backbone(self._preprocess(examples), training=False)
        embeddings = tf.cast(embeddings, tf.float32)
        return {'embeddings': tf.math.l2_normalize(embeddings, axis=-1)}

    def _embed_either(self, batch: tf.Tensor) -> dict[str, tf.Tensor]:
        """Also takes floats, for whoever calls the loaded model: else TF cuts them to 0."""
        if batch.dtype != tf.uint8:
            message = 'expected images of uint8 in 0..255, or of float32 in 0..1'
            within = [
                tf.debugging.assert_greater_equal(batch, 0.0, message),
                tf.debugging.assert_less_equal(batch, 1.0, message),
            ]
            with tf.control_dependencies(within):
                batch = tf.cast(tf.round(batch * 255.0), tf.uint8)
        return self._function(batch)

    def save(
        self, directory: str, preprocessing: Optional[preprocessing_lib.Preprocessing] = None
    ) -> None:
        """Writes a SavedModel: `images` (or `examples`) -> `embeddings`.

        Args:
            directory: where.
            preprocessing: from pictures to the images, kept beside the graph; None if that
                is not known.
        """
        # Weights and graph, without the Keras layers: it loads where neither Keras nor
        # this package is, and saves faster.
        exported = tf.Module(name='embedding_model')
        exported.weights = self.backbone.variables
        exported.__call__ = self._function
        if self.example_spec.dtype == 'uint8':
            exported.__call__ = tf.function(self._embed_either, autograph=False)
            for dtype in (tf.uint8, tf.float32):
                batch = tf.TensorSpec(self._batch.shape, dtype, self._batch.name)
                exported.__call__.get_concrete_function(batch)
        tf.saved_model.save(exported, directory, signatures={'serving_default': self._function})
        saved_model.write_preprocessing(directory, preprocessing)

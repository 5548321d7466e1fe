"""From names to an embedding model."""

from typing import Optional

import tensorflow as tf

from dp_fedemb import data
from dp_fedemb import validate
from dp_fedemb.models import backbones
from dp_fedemb.models import embedding_model
from dp_fedemb.models import freezing
from dp_fedemb.models import heads


def build_embedding_model(
    backbone: str,
    example_spec: data.example_spec.SpecLike,
    embedding_dim: int = 128,
    head: str = 'linear',
    freeze: str = '',
    precision: str = 'float32',
    head_scale: Optional[float] = None,
    head_margin: Optional[float] = None,
) -> embedding_model.EmbeddingModel:
    """Returns the model that the names describe.

    Args:
        backbone: a key of `backbones.BACKBONES`.
        example_spec: shape and type of the examples; a bare shape, as (H, W, C), is that
            of uint8 images.
        embedding_dim: D.
        head: a key of `heads.HEADS`.
        freeze: layers that are not trained, see `freezing.freeze`.
        precision: of local steps, a key of `embedding_model.PRECISIONS`.
        head_scale: factor of the cosines, for heads that have it; None for the
            head's default.
        head_margin: margin, for heads that have it; None for the head's default.

    Raises:
        ValueError: for an unknown name, or a pattern that matches no layer.
    """
    validate.one_of('backbone', backbone, backbones.BACKBONES)
    validate.positive(embedding_dim=embedding_dim)

    spec = data.ExampleSpec.of(example_spec)

    def build() -> tf.keras.Model:
        model = backbones.BACKBONES[backbone](spec.shape, embedding_dim)
        freezing.freeze(model, freeze)
        return model

    model = embedding_model.EmbeddingModel(
        build_backbone=build,
        example_spec=spec,
        embedding_dim=embedding_dim,
        head=heads.build_head(head, head_scale, head_margin),
        precision=precision,
    )
    if freeze:
        # Wrong patterns are to be heard of here, not in the first round.
        model.weight_counts()
    return model

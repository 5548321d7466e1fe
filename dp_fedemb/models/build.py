"""From names to an embedding model."""

from dp_fedemb import validate
from dp_fedemb.models import embedding_model
from dp_fedemb.models import heads
from dp_fedemb.models import lenet
from dp_fedemb.models import small_conv

# Name (as in --backbone) -> builder(image_shape, embedding_dim, ...).
BACKBONES = {
    'lenet': lenet.build,
    'small_conv': small_conv.build,
}


def build_embedding_model(
    backbone: str,
    image_shape: tuple[int, int, int],
    embedding_dim: int = 128,
    head: str = 'linear',
    freeze: str = '',
    precision: str = 'float32',
) -> embedding_model.EmbeddingModel:
    """Returns the model that the names describe.

    Args:
        backbone: a key of `BACKBONES`.
        image_shape: (H, W, C).
        embedding_dim: D.
        head: a key of `heads.HEADS`.
        freeze: layers that are not trained.
        precision: of local steps.

    Raises:
        ValueError: for an unknown name.
    """
    validate.one_of('backbone', backbone, BACKBONES)
    validate.one_of('head', head, heads.HEADS)
    validate.positive(embedding_dim=embedding_dim)
    return embedding_model.EmbeddingModel(
        build_backbone=lambda: BACKBONES[backbone](image_shape, embedding_dim),
        image_shape=image_shape,
        embedding_dim=embedding_dim,
        head=heads.HEADS[head](),
    )

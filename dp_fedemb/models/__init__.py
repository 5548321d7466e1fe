"""Backbones (image -> embedding), heads (embedding -> local identities)."""

from dp_fedemb.models import heads
from dp_fedemb.models import lenet
from dp_fedemb.models import small_conv

HEADS = heads.HEADS

# Name (as in --backbone) -> builder(image_shape, embedding_dim, ...).
BACKBONES = {
    'lenet': lenet.build,
    'small_conv': small_conv.build,
}

"""Backbones (image -> embedding), heads (embedding -> local identities)."""

from dp_fedemb.models.build import BACKBONES
from dp_fedemb.models.build import build_embedding_model
from dp_fedemb.models.embedding_model import EmbeddingModel
from dp_fedemb.models.embedding_model import ServingModel
from dp_fedemb.models.heads import HEADS

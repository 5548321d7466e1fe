"""Backbones (image -> embedding), heads (embedding -> local identities)."""

from dp_fedemb import environment

environment.check()

from dp_fedemb.models.backbones import BACKBONES
from dp_fedemb.models.backbones.group_norm import GroupNorm
from dp_fedemb.models.backbones.imagenet import load_imagenet_convolutions
from dp_fedemb.models.build import build_embedding_model
from dp_fedemb.models.embedding_model import EmbeddingModel
from dp_fedemb.models.embedding_model import PRECISIONS
from dp_fedemb.models.embedding_model import ServingModel
from dp_fedemb.models.freezing import freeze
from dp_fedemb.models.full_model import build_full_model
from dp_fedemb.models.heads import build_head
from dp_fedemb.models.heads import Head
from dp_fedemb.models.heads import HEADS
from dp_fedemb.models.label_spaces import AllIdentities
from dp_fedemb.models.label_spaces import HashBuckets
from dp_fedemb.models.label_spaces import LabelSpace
from dp_fedemb.models.label_spaces import PublicList
from dp_fedemb.models.weight_counts import WeightCounts

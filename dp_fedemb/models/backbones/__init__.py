"""Backbones (image -> embedding), one file each."""

from collections.abc import Callable
from typing import Any

from dp_fedemb.models.backbones import lenet
from dp_fedemb.models.backbones import mobilenet_v2
from dp_fedemb.models.backbones import resnet18
from dp_fedemb.models.backbones import resnet50
from dp_fedemb.models.backbones import small_conv

# Name (as in --backbone) -> builder(image_shape, embedding_dim).
BACKBONES: dict[str, Callable[..., Any]] = {
    'lenet': lenet.build,
    'mobilenet_v2': mobilenet_v2.build,
    'resnet18': resnet18.build,
    'resnet50': resnet50.build,
    'small_conv': small_conv.build,
}

"""Names of parts that live in modules of TensorFlow, for those who do not wait for it.

A command line is refused by these at once. The registries themselves are `models.BACKBONES`,
`models.PRECISIONS`, `models.HEADS` and `export.FORMATS`; a test holds them equal.
"""

from collections.abc import Collection, Mapping, Sequence
import importlib.util
import math
import sys
from typing import Optional

from dp_fedemb import validate

BACKBONES = ('lenet', 'mobilenet_v2', 'resnet18', 'resnet50', 'small_conv')
PRECISIONS = ('float32', 'bfloat16')
# Name -> its options.
HEADS = {
    'arcface': ('scale', 'margin'),
    'cosface': ('scale', 'margin'),
    'linear': (),
    'normalized': ('scale',),
    'prototype': ('scale',),
    'supcon': ('scale',),
}
# Name -> the package that it takes beside TensorFlow.
EXPORT_FORMATS = {
    'saved_model': None,
    'keras': None,
    'onnx': 'tf2onnx',
    'tflite': None,
    'tflite_float16': None,
    'tflite_int8': None,
}


def backbones() -> Collection[str]:
    """Returns the names of the backbones, those that somebody has added among them."""
    # Whoever adds one has loaded the registry to do so.
    models = sys.modules.get('dp_fedemb.models')
    return getattr(models, 'BACKBONES', BACKBONES)


def check_head(
    name: str,
    scale: Optional[float],
    margin: Optional[float],
    heads: Mapping[str, Collection[str]] = HEADS,
) -> None:
    """Raises ValueError for a name that no head has, or an option that this one lacks.

    Args:
        name: of the head.
        scale: of the cosines; None for the head's default.
        margin: of the right identity; None for the head's default.
        heads: name -> options of all that there are.
    """
    validate.one_of('head', name, heads)
    for option, value in {'scale': scale, 'margin': margin}.items():
        if value is not None and option not in heads[name]:
            raise ValueError(
                f'head_{option}={value!r}: head {name} has no {option}; leave it out'
            )
    if name == 'arcface' and margin is not None:
        check_angle(margin)


def check_angle(head_margin: float) -> None:
    """Raises ValueError for a margin that is no angle below a right one."""
    if not 0 <= head_margin < math.pi / 2:
        raise ValueError(f'head_margin={head_margin!r}: expected an angle in [0, pi/2) radians')


def check_export_formats(
    names: Sequence[str], formats: Mapping[str, Optional[str]] = EXPORT_FORMATS
) -> None:
    """Raises ValueError for an unknown format, none, or one whose package is missing.

    Args:
        names: of the formats that are asked for.
        formats: name -> needed package, of all that there are.
    """
    if not names:
        raise ValueError(f'formats: none; expected some of {", ".join(formats)}')
    for name in names:
        validate.one_of('formats', name, formats)
        needed = formats[name]
        if needed and importlib.util.find_spec(needed) is None:
            raise ValueError(
                f'formats={name!r}: needs the package {needed}, which is not installed; install'
                ' the optional dependencies "export", or leave it out'
            )

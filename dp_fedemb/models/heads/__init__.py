"""Classification heads, one file each."""

import dataclasses
from typing import Any, Optional

from dp_fedemb import known_names
from dp_fedemb.models.heads import arcface
from dp_fedemb.models.heads import base
from dp_fedemb.models.heads import cosface
from dp_fedemb.models.heads import linear
from dp_fedemb.models.heads import normalized
from dp_fedemb.models.heads import prototype
from dp_fedemb.models.heads import supcon

Head = base.Head

# Name (as in --head) -> class; a class takes its options as keywords.
HEADS: dict[str, Any] = {
    'arcface': arcface.ArcFace,
    'cosface': cosface.CosFace,
    'linear': linear.Linear,
    'normalized': normalized.Normalized,
    'prototype': prototype.Prototype,
    'supcon': supcon.SupCon,
}


def build_head(
    name: str, scale: Optional[float] = None, margin: Optional[float] = None
) -> Head:
    """Returns a head.

    Args:
        name: a key of `HEADS`.
        scale: of the cosines; the head's default if None.
        margin: of the right identity; the head's default if None.

    Raises:
        ValueError: for an unknown head, or an option that it does not have.
    """
    known_names.check_head(name, scale, margin, options())
    given = {'scale': scale, 'margin': margin}
    return HEADS[name](**{key: value for key, value in given.items() if value is not None})


def options() -> dict[str, tuple[str, ...]]:
    """Returns the options of each head."""
    return {
        name: tuple(field.name for field in dataclasses.fields(head))
        for name, head in HEADS.items()
    }

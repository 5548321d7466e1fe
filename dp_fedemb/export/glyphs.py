"""Drawn glyphs in the shape of a model's examples: public data that cost nothing."""

import numpy as np

from dp_fedemb import data
from dp_fedemb.data import synthetic

_CALIBRATION = ('calibration', 100, 2)
_CHECK = ('check', 200, 8)


def for_calibration(spec: data.ExampleSpec) -> np.ndarray:
    """Returns uint8 [200, H, W, C]: two drawings each of 100 glyphs."""
    return _draw(spec, *_CALIBRATION)[0]


def for_check(spec: data.ExampleSpec) -> tuple[np.ndarray, np.ndarray]:
    """Returns images [1600, H, W, C] of 200 glyphs, and which glyph each one is."""
    return _draw(spec, *_CHECK)


def _draw(
    spec: data.ExampleSpec, name: str, glyphs: int, drawings: int
) -> tuple[np.ndarray, np.ndarray]:
    if not spec.is_image:
        raise ValueError(
            f'the model takes examples of {spec}, for which glyphs cannot be drawn; give'
            ' examples of your own'
        )
    height, width, channels = spec.shape
    part = synthetic.Part(
        f'export/{name}', glyphs, images_per_identity=drawings, image_size=max(8, height, width)
    )
    squares = np.concatenate(list(synthetic.draw(part, 0)))
    squares = squares.reshape(-1, *squares.shape[2:])[:, :height, :width]
    return np.repeat(squares, channels, axis=-1), np.arange(glyphs).repeat(drawings)

"""Checks of what a record may do to the sum."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.auditing import checks
from dp_fedemb.auditing.mechanism import black_box

_COORDINATES = 64
_RECORDS = 2000
# Norms over C, the last ones of what diverged.
_SIZES = (0.25, 1.0, 1.5, 4.0, 1e3, 1e6)


def run_checks(
    run: privacy.PrivateRun, generator: np.random.Generator
) -> Iterator[checks.Check]:
    """Makes all checks.

    Args:
        run: plan and seed.
        generator: of the records.
    """
    box = black_box.BlackBox(run, [tf.TensorSpec([_COORDINATES])])
    clip_norm = box.clip_norm
    # Of the largest record there can be; what is longer than it was not clipped.
    longest = box.unit()
    excess = longer = 0.0
    for index in range(_RECORDS):
        direction = generator.standard_normal(_COORDINATES)
        size = _SIZES[index % len(_SIZES)]
        record = direction * (size * clip_norm / np.linalg.norm(direction))
        norm = float(np.linalg.norm(box.clipped([record]).astype(np.float64)))
        over = norm / longest
        # The one coordinate of `unit` was rounded towards zero by less than one.
        longer += norm > longest + 1
        excess = max(excess, over)
    yield checks.holds(
        'no record is longer than the clip norm',
        longer == 0,
        f'{longer:.0f} of {_RECORDS} records, the longest of {excess:.6g} C',
    )
    odd = 0
    for value in (np.nan, np.inf, -np.inf, 3e38):
        record = np.full(_COORDINATES, value)
        norm = float(np.linalg.norm(box.clipped([record]).astype(np.float64)))
        odd += norm > longest + 1
    yield checks.holds(
        'a record that diverged is not longer either', odd == 0, f'{odd} of 4 records'
    )
    small = np.zeros(_COORDINATES)
    small[3] = 0.5 * clip_norm
    kept = box.clipped([small]) / longest
    yield checks.holds(
        'a short record enters as it is',
        abs(kept[3] - 0.5) < 1e-4 and not kept[np.arange(_COORDINATES) != 3].any(),
        f'{kept[3]:.6f} of 0.5',
    )

"""Recall by a user's number of images, and by group."""

from collections.abc import Mapping
from typing import Any, Optional

from matplotlib import figure

from dp_fedemb.evaluation.figures import drawing

_MOST_ROWS = 24


def by_number_of_images(values: Mapping[str, Any]) -> Optional[figure.Figure]:
    """Draws recall for users of few and of many images, of `breakdown.summarise`.

    Returns:
        The figure, or None if all users have about as many.
    """
    rows = values['by_number_of_images']
    if len(rows) < 2:
        return None
    names = [
        f'{row["from"]}' if row['from'] == row['to'] else f'{row["from"]}-{row["to"]}'
        for row in rows
    ]
    picture, axes = drawing.axes(0.8 + 0.5 * len(rows))
    drawing.intervals(axes, names, rows)
    axes.set(xlim=(0, 1.02), ylabel="user's images")
    return picture


def by_group(values: Mapping[str, Any]) -> Optional[figure.Figure]:
    """Draws recall by group, of `breakdown.summarise`; of many groups both ends.

    Returns:
        The figure, or None without groups.
    """
    if not values.get('groups'):
        return None
    order = sorted(values['groups'].items(), key=lambda item: -(item[1]['recall'] or 0))
    if len(order) > _MOST_ROWS:
        order = order[: _MOST_ROWS // 2] + order[-_MOST_ROWS // 2 :]
    names = [drawing.shortened(name) for name, _ in order]
    picture, axes = drawing.axes(0.8 + 0.42 * len(order))
    drawing.intervals(axes, names, [row for _, row in order])
    axes.set(xlim=(0, 1.02))
    return picture

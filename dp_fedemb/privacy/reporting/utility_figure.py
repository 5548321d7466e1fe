"""Draws recall against noise-to-signal, and what the ratio that is chosen costs.

The kind of figures 3 and 4 of Xu et al. (2023, arXiv 2211.10844): the utility of a model
depends on the noise of its mean updates, and that noise is the more private the larger
cohort and population are.
"""

from collections.abc import Sequence
from typing import Optional

from matplotlib import axes as axes_lib
from matplotlib import figure as figure_lib
from matplotlib import ticker
import numpy as np

from dp_fedemb.privacy.reporting import extrapolation
from dp_fedemb.privacy.reporting import extrapolation_figure
from dp_fedemb.privacy.reporting import utility

_PLACES = 60


def draw(
    fit: utility.Fit,
    drop: float,
    points: Sequence[extrapolation.Point],
    target_epsilon: Optional[float],
    path: str,
) -> None:
    """Writes the figure: recall; epsilon against the cohort; epsilon against the population.

    Args:
        fit: of the runs.
        drop: fraction of the recall without noise that the points cost.
        points: deployments at the ratio of that drop, whole groups.
        target_epsilon: drawn as a line; None for none.
        path: of the image, its format from its ending.
    """
    figure = figure_lib.Figure(figsize=(15, 4.6), layout='constrained')
    left, middle, right = figure.subplots(1, 3)
    _recall(left, fit, drop)
    shown = extrapolation_figure.spread([p.num_users for p in points], 5)
    chosen = [p for p in points if p.num_users in shown]
    extrapolation_figure.curves(middle, chosen, 'virtual_clients_per_round', 'num_users', 'N')
    middle.set_xlabel('virtual clients a round (m)')
    middle.set_ylabel('epsilon of a user, replaced, in whole groups')
    middle.legend(title='users', fontsize=8, title_fontsize=8)
    shown = extrapolation_figure.spread([p.virtual_clients_per_round for p in points], 6)
    chosen = [p for p in points if p.virtual_clients_per_round in shown]
    extrapolation_figure.curves(right, chosen, 'num_users', 'virtual_clients_per_round', 'm')
    right.set_xlabel('users in the population (N)')
    right.legend(title='virtual clients a round', fontsize=8, title_fontsize=8)
    for axes in (middle, right):
        extrapolation_figure.finish(axes, target_epsilon)
    ratio, low, high = fit.ratio_at(drop)
    figure.suptitle(
        f'left: {len(fit.ratios)} runs; middle and right: z / m = {ratio:.3g}'
        f' ({low:.3g} to {high:.3g}), which costs {drop:.0%} of the recall without noise',
        fontsize=10,
    )
    extrapolation_figure.save(figure, path)


def _recall(axes: axes_lib.Axes, fit: utility.Fit, drop: float) -> None:
    positive = [ratio for ratio in fit.ratios if ratio > 0]
    ratio, low, high = fit.ratio_at(drop)
    # Runs without noise stand at the left edge of a logarithmic axis.
    edge = min([*positive, ratio]) / 4
    places = np.geomspace(edge, max(positive) * 2, _PLACES)
    values, lowest, highest = np.array([fit.recall(place) for place in places]).T
    axes.fill_between(places, lowest, highest, alpha=0.2, linewidth=0, label='95 %')
    axes.plot(places, values, label='fitted')
    axes.plot([max(x, edge) for x in fit.ratios], fit.recalls, 'ko', ms=4, label='runs')
    axes.axvspan(
        max(low, edge), min(high, places[-1]), color='tab:red', alpha=0.15, linewidth=0
    )
    axes.axvline(ratio, color='tab:red', linestyle='--', linewidth=1, label=f'{drop:.0%} less')
    axes.set_xscale('log')
    axes.set_xlim(edge, places[-1])
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(ticker.StrMethodFormatter('{x:g}'))
    axes.grid(which='major', alpha=0.3)
    axes.set_xlabel('noise-to-signal, z / m (left edge: none)')
    axes.set_ylabel('recall')
    axes.legend(fontsize=8)

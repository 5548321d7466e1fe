"""Draws epsilon against population and cohort at a constant noise-to-signal ratio."""

from collections.abc import Sequence
import pathlib
from typing import Optional

import matplotlib
from matplotlib import axes as axes_lib
from matplotlib import figure as figure_lib
from matplotlib import ticker

from dp_fedemb import files
from dp_fedemb import tables
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import rounding
from dp_fedemb.privacy.reporting import extrapolation

# From light to dark with the size; readable in grey, too.
_FIRST_SHADE, _LAST_SHADE = 0.15, 0.85


def table(points: Sequence[extrapolation.Point]) -> str:
    """Returns the points as a table, one line each."""
    title = (
        *('users (N)', 'cohort (m)', 'z', 'delta'),
        *('epsilon, headline', 'present or absent', 'virtual client'),
    )
    rows = [
        (
            f'{p.num_users:,}',
            f'{p.virtual_clients_per_round:,}',
            f'{p.noise_multiplier:.4g}',
            rounding.text(p.delta),
            rounding.text(p.epsilon_user),
            rounding.text(p.epsilon_present_absent),
            rounding.text(p.epsilon_virtual_client),
        )
        for p in points
    ]
    return tables.text([title, *rows], 'r')


def draw(
    points: Sequence[extrapolation.Point],
    plan: plan_lib.PrivacyPlan,
    target_epsilon: Optional[float],
    path: str,
) -> None:
    """Writes the figure: left against the population, right against the cohort.

    Args:
        points: from `extrapolation.points`.
        plan: the setting that they extrapolate; marked where it is among them.
        target_epsilon: drawn as a line; None for none.
        path: of the image, its format from its ending.
    """
    figure = figure_lib.Figure(figsize=(11, 4.6), layout='constrained')
    left, right = figure.subplots(1, 2, sharey=True)
    curves(left, points, 'num_users', 'virtual_clients_per_round', 'm')
    left.set_xlabel('users in the population (N)')
    left.set_ylabel(f'epsilon of a user, {plan.relation.name.replace("_", " ")}')
    left.legend(title='virtual clients a round', fontsize=8, title_fontsize=8)
    shown = spread([p.num_users for p in points], 5)
    chosen = [p for p in points if p.num_users in shown]
    curves(right, chosen, 'virtual_clients_per_round', 'num_users', 'N')
    right.set_xlabel('virtual clients a round (m)')
    right.legend(title='users', fontsize=8, title_fontsize=8)
    for axes, along in ((left, 'num_users'), (right, 'virtual_clients_per_round')):
        finish(axes, target_epsilon)
        _mark_setting(axes, points, plan, along)
    cohorts = sorted({p.virtual_clients_per_round for p in points})
    right.xaxis.set_major_locator(ticker.FixedLocator(cohorts))
    right.xaxis.set_minor_locator(ticker.NullLocator())
    ratio = plan.mechanism.noise_multiplier / plan.virtual_clients_per_round
    delta = 'delta = N^-1.1' if plan.delta is None else f'delta = {plan.delta:g}'
    figure.suptitle(
        f'{plan.mechanism.name}, {_name_of(plan)}: {plan.rounds} rounds,'
        f' k = {plan.users_per_virtual_client}, z / m = {ratio:.4g} everywhere, {delta}',
        fontsize=10,
    )
    save(figure, path)


def save(figure: figure_lib.Figure, path: str) -> None:
    """Writes a figure in one step, in the format of the path's ending; PNG without one."""
    ending = pathlib.Path(path).suffix
    with files.appearing_file(path) as draft:
        figure.savefig(draft, format=ending[1:] or 'png', dpi=150)


def _name_of(plan: plan_lib.PrivacyPlan) -> str:
    grouping = getattr(plan.sampling, 'grouping', None)
    return plan.sampling.name if grouping is None else f'{plan.sampling.name} of {grouping}'


def curves(
    axes: axes_lib.Axes,
    points: Sequence[extrapolation.Point],
    along: str,
    by: str,
    symbol: str,
) -> None:
    """Draws epsilon along one size of the points, a curve for each value of another.

    Args:
        axes: to draw in.
        points: from `extrapolation.points`.
        along: field of the points, on the horizontal axis.
        by: field that the curves differ in.
        symbol: of that field.
    """
    groups = sorted({getattr(p, by) for p in points})
    for index, group in enumerate(groups):
        members = sorted(
            (p for p in points if getattr(p, by) == group), key=lambda p: getattr(p, along)
        )
        axes.plot(
            [getattr(p, along) for p in members],
            [p.epsilon_user for p in members],
            marker='.',
            color=_shade(index, len(groups)),
            label=f'{symbol} = {group:,}',
        )


def _mark_setting(
    axes: axes_lib.Axes,
    points: Sequence[extrapolation.Point],
    plan: plan_lib.PrivacyPlan,
    along: str,
) -> None:
    for p in points:
        if (p.num_users, p.virtual_clients_per_round) == (
            plan.num_users,
            plan.virtual_clients_per_round,
        ):
            place = (getattr(p, along), p.epsilon_user)
            axes.plot(*place, marker='o', markersize=10, fillstyle='none', color='black')
            axes.annotate(
                f'this setting: {rounding.text(p.epsilon_user)}',
                place,
                xytext=(9, 4),
                textcoords='offset points',
                fontsize=8,
            )


def finish(axes: axes_lib.Axes, target_epsilon: Optional[float]) -> None:
    """Makes both axes logarithmic and draws the target, if there is one."""
    axes.set_xscale('log')
    axes.set_yscale('log')
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.grid(which='major', alpha=0.3)
    axes.xaxis.set_major_formatter(ticker.StrMethodFormatter('{x:,.0f}'))
    axes.yaxis.set_major_formatter(ticker.StrMethodFormatter('{x:g}'))
    if target_epsilon is not None:
        axes.axhline(target_epsilon, color='tab:red', linestyle='--', linewidth=1)
        axes.annotate(
            f'target {target_epsilon:g}',
            (1, target_epsilon),
            xycoords=('axes fraction', 'data'),
            xytext=(-3, 3),
            textcoords='offset points',
            ha='right',
            color='tab:red',
            fontsize=8,
            bbox={'facecolor': 'white', 'edgecolor': 'none', 'pad': 1, 'alpha': 0.8},
        )


def _shade(index: int, count: int) -> 'tuple[float, float, float, float]':
    place = index / max(count - 1, 1)
    return matplotlib.colormaps['viridis'](
        1 - (_FIRST_SHADE + (_LAST_SHADE - _FIRST_SHADE) * place)
    )


def spread(values: Sequence[int], count: int) -> 'set[int]':
    """At most `count` of the distinct values, evenly over their order."""
    distinct = sorted(set(values))
    if len(distinct) <= count:
        return set(distinct)
    return {distinct[round(i * (len(distinct) - 1) / (count - 1))] for i in range(count)}

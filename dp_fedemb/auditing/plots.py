"""Pictures of an audit; as in `evaluation.figures`, figures without pyplot."""

from collections.abc import Mapping, Sequence
import itertools
from typing import Any

from matplotlib import figure
import numpy as np

from dp_fedemb.auditing.estimators import claim as claim_lib
from dp_fedemb.auditing.membership import game
from dp_fedemb.auditing.membership import roc
from dp_fedemb.evaluation.figures import drawing

# Rates below it are drawn at it.
_LEAST = 1e-4
_CHANCE = (0, (4, 3))
# Of the figure against epsilon.
_FPR = 1e-3


def membership_roc(attacks: Mapping[str, Sequence[game.Attack]]) -> figure.Figure:
    """Draws the strongest attack of each training, both axes logarithmic.

    Args:
        attacks: label of a training -> its attacks.
    """
    picture, axes = drawing.axes(3.8)
    # One non-member among all scores.
    least = min(1 / max(int((~_flat(each)).sum()), 2) for (each, *_) in attacks.values())
    for place, (label, each) in enumerate(attacks.items()):
        best = max(each, key=lambda attack: roc.auc(attack.scores.ravel(), _flat(attack)))
        false, true = roc.curve(best.scores.ravel(), _flat(best))
        axes.step(
            np.maximum(false, least),
            np.maximum(true, least),
            where='post',
            color=drawing.CURVES[place % len(drawing.CURVES)],
            ls=drawing.DASHES[place % len(drawing.DASHES)],
            lw=1.6,
            label=f'{label}: {best.name}, {best.images}',
        )
    chance = np.geomspace(least, 1, 50)
    axes.plot(chance, chance, color=drawing.FAINT, lw=1, ls=_CHANCE, label='guessing')
    axes.set(
        xscale='log',
        yscale='log',
        xlim=(least, 1),
        ylim=(least, 1.1),
        xlabel='non-members called members (FPR)',
        ylabel='members found (TPR)',
    )
    picture.legend(fontsize=7.5, frameon=False, loc='outside lower left')
    return picture


def membership_by_epsilon(
    rows: Sequence[Mapping[str, Any]],
    epsilons: Mapping[str, float],
    claims: Mapping[str, claim_lib.Claim],
) -> figure.Figure:
    """Draws TPR at FPR 1e-3 against epsilon, beside what the guarantee allows.

    Args:
        rows: attacks with `label`, as `Attack.to_json` gives them.
        epsilons: label -> epsilon, infinite without privacy.
        claims: label -> claim.
    """
    picture, axes = drawing.axes(4.2)
    finite = sorted(e for e in epsilons.values() if np.isfinite(e))
    # Without privacy: to the right of all others.
    place = {
        label: epsilon if np.isfinite(epsilon) else finite[-1] * 8
        for label, epsilon in epsilons.items()
    }
    private = [each for each in claims.values() if each.private]
    bounds = sorted((each.epsilon, roc.allowed(each.curve, _FPR)) for each in private)
    handles = axes.plot(
        *zip(*bounds), '-s', color=drawing.INK, ms=4, label='the guarantee allows'
    )
    names = sorted({row['attack'] for row in rows})
    kinds = (game.SEEN, game.OTHER)
    spread = np.geomspace(0.75, 1.33, len(names) * len(kinds))
    for index, (attack, images) in enumerate(itertools.product(names, kinds)):
        of_it = [row for row in rows if (row['attack'], row['images']) == (attack, images)]
        rates = [next(r for r in row['rates'] if r['fpr'] == _FPR) for row in of_it]
        xs = [place[row['label']] * spread[index] for row in of_it]
        ys = [max(rate['tpr'], _LEAST) for rate in rates]
        lows = [y - min(max(rate['low'], _LEAST), y) for y, rate in zip(ys, rates)]
        highs = [max(rate['high'] - y, 0.0) for y, rate in zip(ys, rates)]
        seen = images == game.SEEN
        color = drawing.CURVES[names.index(attack) % len(drawing.CURVES)]
        inside = color if seen else 'white'
        axes.errorbar(xs, ys, (lows, highs), color=color, mfc=inside, ms=4, lw=1, fmt='o')
        if seen:
            handles += axes.plot([], [], 'o', color=color, ms=4, label=attack)
    for images, inside in zip(kinds, (drawing.INK, 'white')):
        handles += axes.plot([], [], 'o', color=drawing.INK, mfc=inside, ms=4, label=images)
    handles.append(axes.axhline(_FPR, color=drawing.FAINT, lw=1, ls=_CHANCE, label='guessing'))
    ticks = sorted(set(place.values()))
    axes.set(
        xscale='log',
        yscale='log',
        xlim=(ticks[0] / 2, ticks[-1] * 2),
        ylim=(_LEAST * 0.8, 1.5),
        xlabel='epsilon of a user',
        ylabel='members found (TPR) at FPR 0.001',
    )
    axes.set_xticks(ticks, [f'{t:.3g}' if t in finite else 'no privacy' for t in ticks])
    axes.minorticks_off()
    picture.legend(
        handles=handles, fontsize=7.5, frameon=False, loc='outside lower left', ncols=2
    )
    return picture


def _flat(attack: game.Attack) -> np.ndarray:
    return attack.members.ravel()

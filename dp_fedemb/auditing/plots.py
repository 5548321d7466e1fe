"""Pictures of an audit; as in `evaluation.figures`, figures without pyplot."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import figure
import numpy as np

from dp_fedemb.auditing.estimators import claim as claim_lib
from dp_fedemb.auditing.membership import game
from dp_fedemb.auditing.membership import roc
from dp_fedemb.evaluation.figures import drawing

_LEAST = 1e-4
# Of the figure against epsilon.
_FPR = 1e-3


def membership_roc(attacks: Mapping[str, Sequence[game.Attack]]) -> figure.Figure:
    """Draws the strongest attack of each training, both axes logarithmic.

    Args:
        attacks: label of a training -> its attacks.
    """
    picture = figure.Figure((6.4, 4.6), dpi=130, layout='constrained')
    axes = picture.subplots()
    for color, (label, each) in zip(drawing.CURVES, attacks.items()):
        best = max(each, key=lambda attack: roc.auc(attack.scores.ravel(), _flat(attack)))
        false, true = roc.curve(best.scores.ravel(), _flat(best))
        axes.step(
            np.maximum(false, _LEAST),
            np.maximum(true, _LEAST),
            where='post',
            color=color,
            label=f'{label}: {best.name}, {best.images}',
        )
    chance = np.geomspace(_LEAST, 1, 50)
    axes.plot(chance, chance, color=drawing.FAINT, lw=1, ls=(0, (4, 3)))
    axes.set(
        xscale='log',
        yscale='log',
        xlim=(_LEAST, 1),
        ylim=(_LEAST, 1.1),
        xlabel='false positive rate, non-members called members',
        ylabel='true positive rate, members found',
    )
    axes.legend(fontsize=8, frameon=False)
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
    picture = figure.Figure((6.4, 5.6), dpi=130, layout='constrained')
    axes = picture.subplots()
    finite = sorted(e for e in epsilons.values() if np.isfinite(e))
    # Without privacy: to the right of all others.
    place = {
        label: epsilon if np.isfinite(epsilon) else finite[-1] * 8
        for label, epsilon in epsilons.items()
    }
    private = [each for each in claims.values() if each.private]
    bounds = sorted((each.epsilon, roc.allowed(each.curve, _FPR)) for each in private)
    axes.plot(
        *zip(*bounds), '-s', color=drawing.INK, ms=4, label='allowed by the guarantee at most'
    )
    names = sorted({(row['attack'], row['images']) for row in rows})
    spread = np.linspace(0.92, 1.08, len(names))
    for index, (attack, images) in enumerate(names):
        xs, ys, lows, highs = [], [], [], []
        for row in rows:
            if (row['attack'], row['images']) == (attack, images):
                rate = next(each for each in row['rates'] if each['fpr'] == _FPR)
                xs.append(place[row['label']] * spread[index])
                ys.append(max(rate['tpr'], _LEAST))
                lows.append(ys[-1] - min(max(rate['low'], _LEAST), ys[-1]))
                highs.append(max(rate['high'] - ys[-1], 0.0))
        axes.errorbar(
            xs,
            ys,
            (lows, highs),
            fmt='o' if images == game.SEEN else '^',
            color=drawing.CURVES[index // 2 % len(drawing.CURVES)],
            ms=4,
            lw=1,
            label=f'{attack}, {images}',
        )
    axes.axhline(_FPR, color=drawing.FAINT, lw=1, ls=(0, (4, 3)))
    ticks = sorted({place[label] for label in place})
    axes.set(
        xscale='log',
        yscale='log',
        ylim=(_LEAST, 1.5),
        xlabel='epsilon of a user',
        ylabel='TPR at FPR 0.001',
    )
    axes.set_xticks(ticks, [f'{t:.3g}' if t in finite else 'no privacy' for t in ticks])
    axes.minorticks_off()
    picture.legend(fontsize=7, frameon=False, loc='outside lower center', ncols=2)
    return picture


def _flat(attack: game.Attack) -> np.ndarray:
    return attack.members.ravel()

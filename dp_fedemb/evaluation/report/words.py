"""What an evaluation and a privacy statement say, in plain words."""

from collections.abc import Mapping
import math
from typing import Any, Optional

from dp_fedemb.evaluation import collection
from dp_fedemb.privacy import rounding

NO_STATEMENT = (
    'No privacy statement is beside this model: nothing is known about the privacy of the'
    ' people it was trained on.'
)
# A guess that is right as often as this is no protection worth the name.
_HARDLY = 0.99


def ability(values: Mapping[str, Any]) -> str:
    """Returns what the model can do, in a sentence."""
    far = values['headline_far']
    if far is None:
        return 'There are too few pairs of images here to say what this model can do.'
    point = collection.at(values['points'], far)
    return (
        'Shown two images of one identity, the model sees that they belong together in'
        f' {_percent(point["recall"])} of cases (95% interval {_percent(point["low"])} to'
        f' {_percent(point["high"])}), while it takes images of two identities for one in at'
        f' most {one_in(far)}.'
    )


def audience(values: Mapping[str, Any]) -> str:
    """Returns for whom that holds, in a sentence."""
    counts = f'{values["num_images"]:,} images of {values["num_identities"]:,} identities'
    part = values.get('part')
    if part in ('test', 'validation'):
        return f'That was measured on {counts} that it never saw in training.'
    if part == 'train':
        return (
            f'That was measured on {counts} that it WAS TRAINED ON, and says nothing about'
            ' people that it has not seen.'
        )
    return f'That was measured on {counts}.'


def protection(statement: Optional[Mapping[str, Any]]) -> str:
    """Returns at what epsilon, in a sentence."""
    if statement is None:
        return NO_STATEMENT
    epsilon, delta = guarantee(statement)
    if epsilon is None:
        return (
            'Its training has NO differential privacy guarantee for the people whose images it'
            ' used.'
        )
    # With hyphens at which no line ends.
    small = rounding.text(delta).replace('-', '\u2011')
    return (
        'Everybody whose images trained it is protected by differential privacy with epsilon'
        f' = {rounding.text(epsilon)} and delta = {small}, all images of a user together.'
    )


def meaning(statement: Mapping[str, Any]) -> list[str]:
    """Returns what the statement promises, for readers who do not know epsilon."""
    epsilon, delta = guarantee(statement)
    if epsilon is None:
        return [
            'This model may remember single people: nothing bounds what it tells about the'
            ' images that it was trained on. Treat it like the images themselves.'
        ]
    # The least sum of both errors of any test (Kairouz et al. 2015, arXiv 1311.0776) is
    # 2 (1 - delta) / (1 + e^epsilon).
    right = 1 - (1 - delta) / (1 + math.exp(min(epsilon, 700.0)))
    sentences = [
        'The promise: whatever anybody learns from this model about one person whose images'
        ' trained it, they could have learned nearly as well had all images of that person'
        ' been other ones.',
        'In numbers: suppose somebody knows everything else, and a coin decides whether your'
        ' images were used or certain others in their place. Told the model, they name the side'
        f' of the coin correctly in {_at_most(right)}; without it in 50%.',
    ]
    if right > _HARDLY:
        sentences.append(
            f'That is a weak promise: with epsilon {rounding.text(epsilon)} the worst case that'
            ' is not ruled out is that nearly everybody is found. It is a bound, not what an'
            ' attack is known to achieve.'
        )
    sentences.append(
        'Not promised: anything about people whom the model is evaluated or used on, and'
        ' anything that follows about you from what holds for everybody.'
    )
    return sentences


def guarantee(statement: Mapping[str, Any]) -> tuple[Optional[float], float]:
    """Returns epsilon, None without a guarantee, and delta, of a run and its ancestors."""
    values = []
    for name in ('epsilon_user', 'delta'):
        whole = statement.get(f'{name}_total')
        values.append(statement.get(name) if whole is None else whole)
    if not statement.get('private') or None in values or values[1] >= 1:
        return None, 0.0
    return values[0], values[1]


def one_in(far: float) -> str:
    """Returns a rate as "1 of 1,000"."""
    return f'1 of {1 / far:,.0f}' if far < 0.5 else f'{far:.0%}'


def _percent(value: float) -> str:
    return f'{100 * value:.1f}%'


def _at_most(part: float) -> str:
    """A part of cases in per cent, rounded up."""
    if part > 0.9999:
        return 'practically every case, as far as this bound goes'
    return f'at most {math.ceil(part * 1e4 - 1e-9) / 100:g}% of cases'

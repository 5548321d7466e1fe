"""Checks of the noise between exact sums and released weights."""

from collections.abc import Iterator, Sequence
from typing import Optional

import numpy as np
from numpy import typing as npt
from scipy import stats

from dp_fedemb import privacy
from dp_fedemb.auditing import checks
from dp_fedemb.auditing.rounds import noise_of
from dp_fedemb.auditing.rounds import watch

Array = npt.NDArray[np.float64]
# Of its claimed size: noise that is no noise.
_NOTHING = 1e-3


def noise(
    noise_of_rounds: Sequence[list[Array]],
    rounds: Sequence[watch.Round],
    plan: privacy.PrivacyPlan,
) -> Iterator[checks.Check]:
    """Checks the noise of a run's rounds.

    Args:
        noise_of_rounds: of `noise_of.noise`.
        rounds: as many.
        plan: what is claimed.
    """
    claimed = noise_of.expected(plan, len(rounds))
    relative = [
        [part.ravel() / stddev for part in parts]
        for parts, stddev in zip(noise_of_rounds, claimed, strict=True)
        if stddev is not None
    ]
    yield _layers(relative)
    yield _coordinates(relative)
    independent = noise_of.whitened(noise_of_rounds, plan)
    flat = [_flat(parts) for parts in noise_of_rounds]
    yield _same(flat, plan.mechanism.independent_rounds)
    if independent is not None:
        name = 'noise of rounds is independent'
        if not plan.mechanism.independent_rounds:
            name = 'noise of rounds is correlated as the accountant was told'
        yield _strategy(name, independent)
    yield _between_layers(relative)
    # The sum of a later round has seen the noise before it, and so that which goes with it.
    told = len(rounds) if plan.mechanism.independent_rounds else 1
    yield _of_sums(flat[:told], rounds[:told])


def _layers(relative: Sequence[list[Array]]) -> checks.Check:
    """Size and shape in every layer of every round, the oddest told."""
    worst, seen, tests = 1.0, '', 0
    for number, parts in enumerate(relative):
        for index, values in enumerate(parts):
            tests += 2
            square = float(np.sum(values**2))
            below = float(stats.chi2.cdf(square, len(values)))
            size = 2 * min(below, float(stats.chi2.sf(square, len(values))))
            p_value = min(size, float(stats.kstest(values, 'norm').pvalue))
            if p_value <= worst:
                worst = p_value
                seen = (
                    f'standard deviation {np.sqrt(square / len(values)):.4g} of the claimed in'
                    f' the {len(values):,} numbers of layer {index + 1}, round {number + 1}'
                )
    name = 'every layer has Gaussian noise of the claimed size, on the sum'
    return checks.Check(name, min(worst * tests, 1.0), seen)


def _coordinates(relative: Sequence[list[Array]]) -> checks.Check:
    small = np.all([np.abs(np.concatenate(parts)) < _NOTHING for parts in relative], axis=0)
    chance = (2 * stats.norm.cdf(_NOTHING) - 1) ** len(relative)
    seen = int(small.sum())
    p_value = float(stats.binom.sf(seen - 1, len(small), chance)) if seen else 1.0
    return checks.Check(
        'no coordinate is without noise', p_value, f'{seen:,} of {len(small):,} in all rounds'
    )


def _same(flat: Sequence[Array], independent: bool) -> checks.Check:
    correlations = [_correlation(flat[i], flat[j]) for i in range(len(flat)) for j in range(i)]
    worst = max(correlations, default=0.0, key=abs)
    seen = f'correlation {worst:.4f}' + ('' if independent else ', which is by design')
    return checks.holds('no two rounds have the same noise', abs(worst) < 0.99, seen)


def _strategy(name: str, independent: Sequence[Array]) -> checks.Check:
    count = len(independent[0])
    tests, worst, seen = 0, 1.0, ''
    for i, one in enumerate(independent):
        square = float(np.sum(one**2))
        below = float(stats.chi2.cdf(square, count))
        outcomes = [
            (
                2 * min(below, float(stats.chi2.sf(square, count))),
                f'standard deviation {np.sqrt(square / count):.4f} of the claimed in round'
                f' {i + 1}',
            )
        ]
        for j in range(i):
            correlation = _correlation(one, independent[j])
            p_value = 2 * float(stats.norm.sf(abs(correlation) * np.sqrt(count)))
            outcomes.append(
                (p_value, f'correlation {correlation:.4f} of rounds {j + 1} and {i + 1}')
            )
        tests += len(outcomes)
        worst, seen = min([(worst, seen), *outcomes], key=lambda each: each[0])
    return checks.Check(name, min(worst * tests, 1.0), seen)


def _between_layers(relative: Sequence[list[Array]]) -> checks.Check:
    """Noise of one layer that begins as that of another does."""
    tests, worst, seen = 0, 0.0, ''
    for parts in relative:
        for i, one in enumerate(parts):
            for j in range(i):
                size = min(len(one), len(parts[j]))
                if size < 8:
                    continue
                tests += 1
                deviations = float(one[:size] @ parts[j][:size]) / np.sqrt(size)
                if abs(deviations) >= abs(worst):
                    worst, seen = (
                        deviations,
                        f'{deviations:.2f} deviations of layers {j + 1} and {i + 1}',
                    )
    # A sum of products has heavier tails than a normal; of equal noise it is sqrt(size).
    return checks.normal(
        'noise of layers is independent', worst / 1.5, max(tests, 1), seen or 'one layer'
    )


def _of_sums(flat: Sequence[Array], rounds: Sequence[watch.Round]) -> checks.Check:
    """What is released is the sum once, plus something that knows nothing of it."""
    deviations = []
    for values, seen in zip(flat, rounds, strict=True):
        parts = [np.ravel(part) for part in seen.total]
        total = np.concatenate(parts)[: len(values)].astype(np.float64)
        correlation = _correlation(values, total) if np.any(total) else 0.0
        deviations.append(correlation * np.sqrt(len(values)))
    worst = max(deviations, key=abs)
    return checks.normal(
        'noise knows nothing of the sum',
        worst,
        len(deviations),
        f'{worst:.2f} deviations from no correlation',
    )


def again(first: list[Array], second: Optional[list[Array]]) -> checks.Check:
    """Whether a round that was computed again with another sum had noise of its own.

    Args:
        first: noise before the crash.
        second: noise after it; None where the run refused to go on.
    """
    name = 'a round that is computed again with another sum gets fresh noise, or none'
    if second is None:
        return checks.holds(name, True, 'the run refused')
    return _unrelated(name, first, second)


def another_seed(one: list[Array], other: list[Array]) -> checks.Check:
    """Whether the first rounds of two runs of other seeds have noise of their own."""
    return _unrelated('another secret seed gives other noise', one, other)


def _unrelated(name: str, one: list[Array], other: list[Array]) -> checks.Check:
    first, second = _flat(one), _flat(other)
    correlation = _correlation(first, second)
    return checks.normal(
        name, correlation * np.sqrt(len(first)), 1, f'correlation {correlation:.4f}'
    )


def _flat(parts: Sequence[Array]) -> Array:
    return np.concatenate([part.ravel() for part in parts])


def _correlation(one: Array, other: Array) -> float:
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    # No noise at all tells the same of every coordinate.
    return float(one @ other) / size if size else 1.0

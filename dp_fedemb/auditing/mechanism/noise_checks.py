"""Checks of the noise: size, shape, independence, and no lattice.

Sums are zero, so what is released is the noise.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy import typing as npt
from scipy import special
from scipy import stats
import tensorflow as tf

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.aggregation import fixed_point
from dp_fedemb.aggregation import noise as noise_lib
from dp_fedemb.auditing import checks
from dp_fedemb.auditing.mechanism import black_box

Array = npt.NDArray[np.float64]
_ROUNDS = 3
# Coordinates of noise that is only compared.
_FEW = 8
# Float32 tells a uniform of 23 or 24 bits from others where it is below this.
_TAIL = 0.03
_FAR = 3.0
_LATTICES = (2.0**23, 2.0**24)


def run_checks(
    runs: Sequence[privacy.PrivateRun], layout: black_box.Layout
) -> Iterator[checks.Check]:
    """Makes all checks.

    Args:
        runs: at least two, of one plan and different seeds.
        layout: shapes of the records.
    """
    plan = runs[0].plan
    stddev = black_box.first_stddev(plan)
    first_rounds = []
    for index, run in enumerate(runs):
        box = black_box.BlackBox(run, layout.specs)
        released, shapes = box.release()
        first_rounds.append(released / stddev)
        if index == 0:
            expected = [tuple(spec.shape) for spec in layout.specs]
            yield checks.holds(
                "a release has the records' shapes", shapes == expected, f'{shapes}'
            )
            noise = [first_rounds[0]]
            # Clips move with adaptive clipping, and noise with them: all is over C.
            noise += [box.release()[0] / stddev for _ in range(_ROUNDS - 1)]
            yield from _rounds(np.array(noise), plan.mechanism.independent_rounds)
            yield _attempts(run, layout, stddev)
    normals = np.concatenate(first_rounds)
    yield from _size(np.array(first_rounds), layout)
    yield _runs(first_rounds)
    yield _between_layers(first_rounds[0], layout)
    yield _coordinates(first_rounds[0])
    yield _repeated(first_rounds[0])
    # A lattice is seen only by whoever knows the unit to the last digit.
    yield from _lattices(np.array(first_rounds) * fixed_point.MARGIN)
    yield _tails(normals)


def seeds_differ(plan: privacy.PrivacyPlan, seeds: Sequence[int]) -> checks.Check:
    """Whether any two of many seeds have the same noise: a key that few bits decide.

    Args:
        plan: of the runs.
        seeds: all different.
    """
    specs = [tf.TensorSpec([_FEW])]
    names = (noise_lib.UPDATE, 0, 0)
    seen = set()
    for seed in seeds:
        source = aggregation.build_query(privacy.PrivateRun(plan, seed), specs).noise
        drawn = source.draw(source.initial_state(), names, 2.0**30, _FEW)
        seen.add(np.asarray(drawn).tobytes())
    return checks.holds(
        'no two seeds have the same noise',
        len(seen) == len(seeds),
        f'{len(seen)} kinds of noise from {len(seeds)} seeds',
    )


def _size(noise: Array, layout: black_box.Layout) -> Iterator[checks.Check]:
    for index, part in enumerate(layout.layers(noise)):
        values = part.ravel()
        size = float(np.sqrt(np.mean(values**2)))
        name = f'noise of layer {index + 1} is Gaussian of the claimed size'
        seen = f'standard deviation {size:.4g} of the claimed'
        # Both: the first sees the shape, the second small differences of size.
        shape = float(stats.kstest(values, 'norm').pvalue)
        square = float(np.sum(values**2))
        below = float(stats.chi2.cdf(square, len(values)))
        variance = 2 * min(below, float(stats.chi2.sf(square, len(values))))
        yield checks.Check(name, min(2 * min(shape, variance), 1.0), seen)


def _rounds(noise: Array, independent: bool) -> Iterator[checks.Check]:
    pairs = [(i, j) for i in range(len(noise)) for j in range(i)]
    same = max(float(np.mean(noise[i] == noise[j])) for i, j in pairs)
    yield checks.holds(
        'no two rounds have the same noise', same < 0.5, f'{same:.1%} of coordinates equal'
    )
    if independent:
        worst = max((_correlation(noise[i], noise[j]) for i, j in pairs), key=abs)
        yield checks.normal(
            'noise of rounds is independent',
            worst * np.sqrt(noise.shape[1]),
            len(pairs),
            f'correlation {worst:.4f}',
        )


def _attempts(run: privacy.PrivateRun, layout: black_box.Layout, stddev: float) -> checks.Check:
    first, second = (
        black_box.BlackBox(run, layout.specs).release(attempt=attempt)[0] / stddev
        for attempt in (0, 1)
    )
    correlation = _correlation(first, second)
    return checks.normal(
        'a round that is computed again has fresh noise',
        correlation * np.sqrt(len(first)),
        1,
        f'correlation {correlation:.4f}',
    )


def _runs(noise: Sequence[Array]) -> checks.Check:
    pairs = [(i, j) for i in range(len(noise)) for j in range(i)]
    worst = max((_correlation(noise[i], noise[j]) for i, j in pairs), key=abs)
    return checks.normal(
        'noise of runs with other seeds is independent',
        worst * np.sqrt(len(noise[0])),
        len(pairs),
        f'correlation {worst:.4f}',
    )


def _correlation(one: Array, other: Array) -> float:
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    # No noise at all tells the same of every coordinate.
    return float(one @ other) / size if size else 1.0


def _coordinates(noise: Array) -> checks.Check:
    """Correlation at every distance at once."""
    count = len(noise)
    transform = np.fft.rfft(noise, 2 * count)
    products = np.fft.irfft(np.abs(transform) ** 2)[1 : count // 2]
    # A sum of count - lag products, each of variance 1.
    deviations = products / np.sqrt(count - np.arange(1, count // 2))
    worst = int(np.argmax(np.abs(deviations)))
    return checks.normal(
        'noise of coordinates is independent',
        float(deviations[worst]),
        len(deviations),
        f'{deviations[worst]:.2f} deviations at distance {worst + 1}',
    )


def _between_layers(noise: Array, layout: black_box.Layout) -> checks.Check:
    """Whether two layers begin with the same noise, which few coordinates share."""
    parts = layout.layers(noise)
    pairs = [(i, j) for i in range(len(parts)) for j in range(i)]
    deviations = {}
    for i, j in pairs:
        size = min(len(parts[i]), len(parts[j]))
        deviations[i, j] = _correlation(parts[i][:size], parts[j][:size]) * np.sqrt(size)
    one, other = max(pairs, key=lambda pair: abs(deviations[pair]))
    return checks.normal(
        'noise of layers is independent',
        deviations[one, other],
        len(pairs),
        f'{deviations[one, other]:.2f} deviations of layers {other + 1} and {one + 1}',
    )


def _repeated(noise: Array) -> checks.Check:
    distinct = len(np.unique(noise))
    # Values are on a grid of at least 2^10 units of the noise, most of them finer.
    return checks.holds(
        'values do not repeat',
        distinct > 0.3 * min(len(noise), 2000),
        f'{distinct:,} values in {len(noise):,} coordinates',
    )


def _lattices(noise: Array) -> Iterator[checks.Check]:
    """Noise that is made from float32 uniforms lies on their lattice.

    Box and Muller's method makes pairs (x, y) with exp(-(x^2 + y^2) / 2) uniform,
    inversion makes Phi(x) uniform; neither may be a multiple of 2^-23 or 2^-24 (Mironov
    2012, for Laplace noise).
    """
    count = noise.shape[1] // 2
    neighbours = noise[:, : 2 * count].reshape(-1, 2)
    halves = np.stack([noise[:, :count], noise[:, count : 2 * count]], -1).reshape(-1, 2)
    uniforms = {
        'of pairs of neighbours': np.exp(-np.sum(neighbours**2, axis=1) / 2),
        'of pairs from both halves': np.exp(-np.sum(halves**2, axis=1) / 2),
        'of single values': special.ndtr(-np.abs(noise.ravel())),
    }
    for name, values in uniforms.items():
        tail = values[(values < _TAIL) & (values > 0)]
        if not len(tail):
            continue  # No noise to speak of, which the size says.
        worst = 0.0
        for lattice in _LATTICES:
            steps = tail * lattice
            distance = np.abs(steps - np.rint(steps))
            # Uniform on [0, 1/2] for noise that knows of no lattice.
            deviations = (np.mean(distance) - 0.25) * np.sqrt(48.0 * len(steps))
            worst = min(worst, float(deviations))
        yield checks.Check(
            f'no lattice {name}',
            min(len(_LATTICES) * float(stats.norm.cdf(worst)), 1.0),
            f'{worst:.2f} deviations from chance',
        )


def _tails(noise: Array) -> checks.Check:
    """Out there a truncated or clipped noise has nothing."""
    return checks.count(
        'tails are those of a Gaussian',
        int(np.sum(np.abs(noise) > _FAR)),
        noise.size,
        2 * float(stats.norm.sf(_FAR)),
        f'values beyond {_FAR:g} deviations',
    )

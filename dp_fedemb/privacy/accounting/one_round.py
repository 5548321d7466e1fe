"""The privacy loss of one round as point masses that dominate it.

A pair of distributions dominates another if its hockey-stick divergence is at least as
large at every epsilon; dominating pairs compose (Zhu, Dong and Wang 2022, arXiv
2106.08567, Theorem 10). What is kept of a pair is the measure that P gives to the loss
log dP/dQ, since delta(epsilon) = integral of (1 - e^(epsilon - loss))+. That grows when
mass is added or moved up, so everything here is rounded that way:

* The mass of P between two neighbouring losses goes to these two, so that the masses of
  P and Q are kept ("connect the dots": Doroshenko et al. 2022, arXiv 2207.04380). It
  dominates, as delta is convex in dQ/dP. The error is of second order in the step.
* Mass below the lowest loss is moved up to it; mass above the highest is `lost`: it
  counts as broken privacy.
* Floating point: masses of P are raised by their relative error eta, the share that goes
  to the upper loss by (4 eta + 2 tau) / (1 - e^-step), and all losses are to be read as
  higher by the error tau of the edges' losses. This covers that masses are off by eta,
  and that the edges' losses are off by tau: mass of a loss below its lower edge moves up
  to it, for which at most tau / (1 - e^-step) of it has to go to the upper one.
  eta = 32 u (8 + (t + 1 / ratio)^2) and tau = 16 u (1 + |loss| + |log q| + 1 / ratio^2 +
  t / ratio), u = 2^-53, with losses up to t standard deviations, bound errors of few
  units in the last place of the exponents of densities, and of SciPy's log_ndtr.
"""

import dataclasses
import functools
import math

import numpy as np

from dp_fedemb.privacy.accounting import pairs as pairs_lib

Array = pairs_lib.Array
# Kind -> the pairs of distributions that dominate one round in all directions.
KINDS = ('add_or_remove', 'replaced', 'without_replacement')
# Standard deviations of the noise below which losses are moved up.
_NEAR = 9.0
# Points of `by_position` to a standard deviation.
_DENSITY = 25


@dataclasses.dataclass(frozen=True, eq=False)
class Losses:
    """Point masses of the privacy loss of one round.

    Attributes:
        values: losses in nats. On a grid, exact multiples of the step, ascending.
        log_masses: logs of the masses of P, rounded up.
        log_lost: log of the mass that counts as broken privacy.
        lift: all losses are to be read as higher by this.
        step: the grid's, a power of two; 0 for none.
        first: the grid's index of values[0].
    """

    values: Array
    log_masses: Array
    log_lost: float
    lift: float
    step: float = 0.0
    first: int = 0


def directions(kind: str) -> 'tuple[str, ...]':
    """Returns the names of what each has to be composed; the worst of them counts."""
    return ('removed', 'added') if kind == 'add_or_remove' else (kind,)


def _rounding(ratio: float, deviations: float) -> float:
    return 32 * pairs_lib.ROUNDOFF * (8 + (deviations + 1 / ratio) ** 2)


def _lift(ratio: float, probability: float, deviations: float, top: float) -> float:
    terms = 1 + top + abs(math.log(probability)) + ratio**-2 + deviations / ratio
    return 16 * pairs_lib.ROUNDOFF * terms


def _spread(pair: pairs_lib.Pair, x: Array, losses: Array, eta: float, tau: float) -> Array:
    """Log masses at `losses`, of what lies between the `x` that have them."""
    log_p, log_q = pair.log_masses(x)
    gaps = np.diff(losses)
    with np.errstate(invalid='ignore', divide='ignore', over='ignore'):
        whole = -np.expm1(-gaps)
        share = -np.expm1(np.minimum(log_q - log_p + losses[:-1], 0)) / whole
        share = share + (4 * eta + 2 * tau) / whole
        # No mass, or no gap: all of it to the upper loss.
        share = np.clip(np.where(np.isnan(share), 1.0, share), 0.0, 1.0)
        up = log_p + np.log(share)
        stay = log_p + np.log1p(-share)
    masses = np.full(len(x), -np.inf)
    masses[:-1] = stay
    masses[1:] = np.logaddexp(masses[1:], up)
    return masses + eta


def _atom(ratio: float, probability: float) -> float:
    """Log mass at loss 0 of sampling without replacement, see `without_replacement`."""
    return math.log1p(-probability) + math.log(math.erf(0.5 / ratio / math.sqrt(2)))


def _pair(direction: str, ratio: float, probability: float) -> pairs_lib.Pair:
    kinds = {
        'removed': pairs_lib.Removed,
        'added': pairs_lib.Added,
        'replaced': pairs_lib.Replaced,
    }
    return kinds[direction](ratio, probability)


@functools.lru_cache(maxsize=32)
def on_grid(
    direction: str, ratio: float, probability: float, step: float, deviations: float
) -> Losses:
    """Returns the losses of one round at multiples of `step`.

    Sampling without replacement, a user replaced by another: with P, Q Gaussians one
    sensitivity apart and q the fraction sampled, Theorem 9 of Balle et al. (2018, arXiv
    1807.01647) bounds the hockey-stick divergence at alpha >= 1 by
    f(alpha) = H_alpha((1 - q) Q + q P || Q), the pair `removed`. Both orders of the
    neighbours obey it, so that below 1 the bound is f(alpha) = alpha f(1 / alpha) + 1 -
    alpha = H_alpha(Q || (1 - q) Q + q P), the pair `added`. Together they are convex: with
    TV the total variation of P and Q, the slope left of 1, q TV - (1 + TV) / 2, is at most
    the one right of it, -(1 - TV) / 2. A convex profile is that of a pair of distributions,
    which dominates the round in either order, whatever was released before. Its losses
    above 0 are those of `removed`, below 0 those of `added`, and the rest, (1 - q) TV, is
    at 0, where the slope jumps.
    """
    if direction == 'without_replacement':
        above = _grid_part('removed', ratio, probability, step, deviations, 'above')
        below = _grid_part('added', ratio, probability, step, deviations, 'below')
        masses = np.concatenate([below.log_masses[:-1], above.log_masses])
        middle = -below.first
        for extra in (below.log_masses[-1], _atom(ratio, probability)):
            masses[middle] = np.logaddexp(masses[middle], extra)
        masses[middle] += 1e-14
        values = np.concatenate([below.values[:-1], above.values])
        lift = max(above.lift, below.lift)
        return Losses(values, masses, above.log_lost, lift, step, below.first)
    return _grid_part(direction, ratio, probability, step, deviations, 'all')


def _grid_part(
    direction: str,
    ratio: float,
    probability: float,
    step: float,
    deviations: float,
    part: str,
) -> Losses:
    """The losses of a pair, or those of them above or below 0."""
    pair = _pair(direction, ratio, probability)
    low, _ = pair.reach(_NEAR)
    _, high = pair.reach(deviations)
    bottom, top = (float(loss) for loss in pair.loss(np.array([low, high])))
    first = 0 if part == 'above' else min(math.floor(bottom / step), -1)
    last = 0 if part == 'below' else max(math.ceil(top / step), 1)
    losses = np.arange(first, last + 1) * step
    tau = _lift(ratio, probability, deviations, max(abs(bottom), top))
    eta = _rounding(ratio, deviations)
    x = pair.position(losses)
    masses = _spread(pair, x, losses, eta, tau)
    if part != 'above':
        masses[0] = np.logaddexp(masses[0], pair.log_mass_below(x[0]) + eta)
    lost = -math.inf if part == 'below' else pair.log_mass_above(x[-1]) + eta
    return Losses(losses, masses, lost, tau, step, first)


@functools.lru_cache(maxsize=64)
def by_position(direction: str, ratio: float, probability: float, deviations: float) -> Losses:
    """Returns the losses of one round at places evenly spread over the Gaussians.

    No grid: for Renyi divergences of any order, and to choose a grid by.
    """
    if direction == 'without_replacement':
        above = _position_part('removed', ratio, probability, deviations, 'above')
        below = _position_part('added', ratio, probability, deviations, 'below')
        return Losses(
            np.concatenate([below.values, [0.0], above.values]),
            np.concatenate(
                [below.log_masses, [_atom(ratio, probability) + 1e-14], above.log_masses]
            ),
            above.log_lost,
            max(above.lift, below.lift),
        )
    return _position_part(direction, ratio, probability, deviations, 'all')


def _position_part(
    direction: str, ratio: float, probability: float, deviations: float, part: str
) -> Losses:
    pair = _pair(direction, ratio, probability)
    # P is near its two centres. Between and beyond them points would show nothing.
    around = np.linspace(-_NEAR, deviations, round(_DENSITY * (_NEAR + deviations)) + 1)
    x = np.unique(np.concatenate([around * ratio, around * ratio + pair.p_shift]))
    if part == 'above':
        x = np.concatenate([[0.5], x[x > 0.5]])
    if part == 'below':
        x = np.concatenate([x[x < -0.5], [-0.5]])
    losses = pair.loss(x)
    top = float(np.max(np.abs(losses)))
    eta, tau = _rounding(ratio, deviations), _lift(ratio, probability, deviations, top)
    masses = _spread(pair, x, losses, eta, tau)
    if part != 'above':
        masses[0] = np.logaddexp(masses[0], pair.log_mass_below(x[0]) + eta)
    lost = -math.inf if part == 'below' else pair.log_mass_above(x[-1]) + eta
    return Losses(losses, masses, lost, tau)

"""A second accountant: Laplace inversion of the moments of the privacy loss.

Independent of `dp_fedemb.privacy.accounting` in method: no grid of losses, no point
masses, no convolution. Since (1 - e^-y)+ is the inverse Laplace transform of
1 / (z (z + 1)), and rounds are independent,

    delta(epsilon) = 1 / 2 pi int e^(T K(z) - z epsilon) / (z (z + 1)) du,  z = c + i u,

for every c > 0, with K(z) = log E_P[e^(z log(dP/dQ))] by Gauss and Legendre's quadrature
over the densities as they stand in the definition. Close to exact and no bound; where it
cannot say how close, it says nothing.
"""

import dataclasses
import math

import numpy as np
from scipy import optimize
from scipy import stats

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


def _log_mixture(x, ratio, q, place):
    """Log density of (1 - q) N(0) + q N(place)."""
    at_zero = stats.norm.logpdf(x, 0, ratio) + np.log1p(-q)
    return np.logaddexp(at_zero, stats.norm.logpdf(x, place, ratio) + np.log(q))


def _pairs(kind, ratio, q):
    """Pairs of log densities, each with the part of the line on which they count.

    Sampling without replacement (Balle et al. 2018, Theorem 9): where the mixture is the
    likelier, the loss is that of the mixture against N(0); where it is not, the reverse;
    the rest of the mass has no loss.
    """
    plain = lambda x: stats.norm.logpdf(x, 0, ratio)
    there = lambda x: _log_mixture(x, ratio, q, 1)
    opposite = lambda x: _log_mixture(x, ratio, q, -1)
    line = (-np.inf, np.inf)
    return {
        'add_or_remove': [[(there, plain, line)], [(plain, there, line)]],
        'replaced': [[(there, opposite, line)]],
        'without_replacement': [[(there, plain, (0.5, np.inf)), (plain, there, (0.5, np.inf))]],
    }[kind]


@dataclasses.dataclass
class Direction:
    """One order of neighbours: nodes of a quadrature with losses and masses of P."""

    losses: np.ndarray
    masses: np.ndarray
    rounds: int
    # How far losses vary within a node's panel of the quadrature, halved.
    turns: np.ndarray

    def moment(self, z):
        """K(z) for an array of complex z."""
        result = np.empty(len(z), complex)
        for begin in range(0, len(z), 512):
            part = z[begin : begin + 512]
            exponents = np.multiply.outer(part, self.losses)
            most = exponents.real.max(axis=1, keepdims=True)
            sums = np.exp(exponents - most) @ self.masses
            result[begin : begin + 512] = np.log(sums) + most[:, 0]
        return result

    def _real(self, c):
        return float(self.moment(np.array([c + 0j]))[0].real)

    def saddle(self, epsilon):
        """The c > 0 of the least Chernoff bound of P(loss > epsilon)."""
        found = optimize.minimize_scalar(
            lambda log_c: (
                self.rounds * self._real(math.exp(log_c))
                - math.exp(log_c) * epsilon
                - math.log(math.exp(log_c) * (1 + math.exp(log_c)))
            ),
            bounds=(math.log(1e-3), math.log(1e4)),
            method='bounded',
        )
        return math.exp(found.x)

    def _place(self, epsilon, about):
        """The c to invert at, and the period of the inversion.

        It adds delta(epsilon + j period) e^(j c period) for all j but 0. Below epsilon
        delta is at most 1, above it is bounded by Chernoff at a larger c. A little left
        of the saddle single great losses do not matter yet.
        """
        saddle = self.saddle(epsilon)
        places = saddle * np.geomspace(0.2, 30, 60)
        bounds = self.rounds * self.moment(places + 0j).real - places * epsilon
        least = min(bounds.min(), math.log(about))
        best = (math.inf, saddle)
        for place, bound in zip(places, bounds):
            right = places > place * 1.01
            if place > saddle or bound > bounds.min() + 14 or not right.any():
                continue
            above = ((bounds[right] - least + 25) / (places[right] - place)).min()
            best = min(best, (max(above, (25 - least) / place), place))
        return best[1], best[0]

    def delta(self, epsilon, about):
        """Returns delta, which is `about` that, at epsilon and what it may be off by."""
        c, period = self._place(epsilon, about)
        if not math.isfinite(period):
            return 0.0, math.inf
        scale = self.rounds * self._real(c) - c * epsilon
        weights = self.masses * np.exp(c * self.losses - self._real(c))
        kept = weights > 1e-17
        near = Direction(self.losses[kept], self.masses[kept], self.rounds, self.turns[kept])
        # Twelve nodes follow about six radians to either side, where there is any mass.
        fastest = 6 / near.turns[weights[kept] > 1e-12].max()
        step = 2 * math.pi / period
        total, last, begin, block = 0.0, math.inf, 0, 256
        while begin < 16_384 and step * begin < fastest:
            u = step * np.arange(begin, begin + block)
            z = c + 1j * u
            terms = self.rounds * near.moment(z) - z * epsilon - scale
            terms = (np.exp(terms) / (z * (z + 1))).real
            if begin == 0:
                terms[0] /= 2
            total += terms.sum()
            # What is left: no larger than the envelope's integral.
            last = np.abs(terms[-64:]).max() * u[-1] / step
            begin += block
            if last < 1e-6 * abs(total):
                break
        factor = math.exp(scale) * step / math.pi
        return total * factor, (last + 1e-6 * abs(total)) * factor


def directions(kind, ratio, q, rounds):
    """Returns both orders of the neighbours where they differ."""
    results = []
    for parts in _pairs(kind, ratio, q):
        losses, masses, turns = [], [], []
        for log_p, log_q, (low, high) in parts:
            # Tilted by c, densities lie up to 1 + c: as far as 30 standard deviations.
            low, high = max(low, -1 - 12 * ratio), min(high, 2 + 30 * ratio)
            edges = np.linspace(low, high, int((high - low) / (0.1 * ratio)) + 2)
            half = np.diff(edges)[:, None] / 2
            x = (edges[:-1, None] + half + half * _NODES).ravel()
            losses.append(log_p(x) - log_q(x))
            turn = np.ptp(losses[-1].reshape(-1, len(_NODES)), axis=1) / 2
            turns.append(np.repeat(turn, len(_NODES)))
            masses.append(np.exp(log_p(x)) * (half * _WEIGHTS).ravel())
        losses, masses, turns = (np.concatenate(each) for each in (losses, masses, turns))
        if kind == 'without_replacement':
            losses = np.append(losses, 0.0)
            masses = np.append(masses, 1 - masses.sum())
            turns = np.append(turns, 0.0)
        kept = masses > 0
        results.append(Direction(losses[kept], masses[kept], rounds, turns[kept]))
    return results


def one_round(kind, ratio, q, epsilon):
    """delta of one round: P minus e^epsilon Q, where the loss is above epsilon.

    One for each order of the neighbours where they differ.
    """

    def mass_above(x, place):
        return (1 - q) * stats.norm.sf(x, 0, ratio) + q * stats.norm.sf(x, place, ratio)

    results = []
    for (log_p, log_q, _), *_ in _pairs(kind, ratio, q):
        sign = 1 if log_p(9.0) - log_q(9.0) > log_p(-9.0) - log_q(-9.0) else -1
        far = 2 + 60 * ratio

        def excess(x, log_p=log_p, log_q=log_q, sign=sign):
            return log_p(sign * x) - log_q(sign * x) - epsilon

        if excess(far) <= 0:
            results.append(0.0)
            continue
        x = optimize.brentq(excess, -far, far, xtol=1e-13)
        # N(0) against the mixture of 0 and 1 is, mirrored, that against 0 and -1.
        p_place, q_place = (0, -1) if sign < 0 else (1, -1 if kind == 'replaced' else 0)
        results.append(mass_above(x, p_place) - math.exp(epsilon) * mass_above(x, q_place))
    return results


def delta(kind, ratio, q, rounds, epsilon, about):
    """Returns delta, which is `about` that, at epsilon > 0, and what it may be off by."""
    if rounds == 1:
        value = max(one_round(kind, ratio, q, epsilon))
        return value, 1e-9 * value
    found = [one.delta(epsilon, about) for one in directions(kind, ratio, q, rounds)]
    return max(value for value, _ in found), max(error for _, error in found)


def renyi_epsilon(kind, ratio, q, rounds, target):
    """Returns the epsilon at delta = target that Renyi divergences prove."""
    return max(
        optimize.minimize_scalar(
            lambda log_s, one=one: (
                (
                    rounds * one._real(math.exp(log_s))
                    + math.exp(log_s) * log_s
                    - (1 + math.exp(log_s)) * math.log1p(math.exp(log_s))
                    - math.log(target)
                )
                / math.exp(log_s)
            ),
            bounds=(-7, 6),
            method='bounded',
        ).fun
        for one in directions(kind, ratio, q, rounds)
    )

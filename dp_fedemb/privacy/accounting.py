"""Epsilon of a composition of rounds, by PLD or RDP.

dp-accounting measures a Gaussian's noise against the sensitivity of the relation
at hand and, depending on version, accountant and relation, doubles that
sensitivity itself or does not: for one Gaussian with z = 1 and delta = 1e-5
under REPLACE_ONE, 0.4.3 says 4.38 (PLD) and 0.6.0 says 10.0 (PLD) but 4.73
(RDP). So nothing here asks it about REPLACE_ONE of a plain Gaussian: events come
with the noise over the sensitivity that the plan derived, and the accountants
see a Gaussian of sensitivity 1.

PLD of sampling without replacement is not in dp-accounting. Its one-round
dominating pair is built here from the hockey-stick profile, see `_replace_one_pmf`.
"""

import functools
import importlib.metadata
import logging
import math

import dp_accounting
from dp_accounting import rdp
from dp_accounting.pld import pld_pmf
from dp_accounting.pld import privacy_loss_distribution
from dp_accounting.pld import privacy_loss_mechanism
import numpy as np

from dp_fedemb import validate

_ADD_OR_REMOVE = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
_REPLACE = dp_accounting.NeighboringRelation.REPLACE_ONE


def accountant_version() -> str:
    """Returns the version of dp-accounting that computes."""
    return importlib.metadata.version('dp-accounting')


def epsilon(event: dp_accounting.DpEvent, delta: float, accountant: str = 'pld') -> float:
    """Returns the epsilon at `delta` of an event of a plan.

    >>> one = dp_accounting.GaussianDpEvent(1.0)
    >>> round(epsilon(one, 1e-5), 3)
    4.377

    Args:
        event: a Gaussian, or a self-composition of a sampled Gaussian (Poisson, or
            without replacement), noise in units of the sensitivity.
        delta: in (0, 1).
        accountant: `pld` or `rdp`. Both are upper bounds; PLD is the tighter.

    Raises:
        ValueError: for an unknown accountant.
    """
    validate.one_of('accountant', accountant, ACCOUNTANTS)
    if isinstance(event, dp_accounting.SelfComposedDpEvent):
        if event.count == 0:
            return 0.0
        return ACCOUNTANTS[accountant](event.event, event.count, delta)
    return ACCOUNTANTS[accountant](event, 1, delta)


@functools.lru_cache(maxsize=4096)
def _pld_epsilon(event, count, delta):
    if isinstance(event, dp_accounting.GaussianDpEvent):
        # A composition of Gaussians is a Gaussian.
        event, count = dp_accounting.GaussianDpEvent(event.noise_multiplier / count**0.5), 1
    composed = _one_round(event)
    # Truncated tails count as broken privacy, so they must stay far below delta. Overflows
    # are those of points beyond the tails.
    with np.errstate(over='ignore'):
        if count > 1:
            composed = composed.self_compose(count, min(1e-15, delta * 1e-4))
        return float(composed.get_epsilon_for_delta(delta))


@functools.lru_cache(maxsize=16)
def _one_round(event) -> privacy_loss_distribution.PrivacyLossDistribution:
    """One round's PLD, kept: composing it is cheap, making it is not."""
    if isinstance(event, dp_accounting.GaussianDpEvent):
        ratio, probability = event.noise_multiplier, 1.0
    elif isinstance(event, dp_accounting.PoissonSampledDpEvent):
        ratio, probability = event.event.noise_multiplier, event.sampling_probability
    else:
        ratio = event.event.noise_multiplier
        probability = event.sample_size / event.source_dataset_size
        return privacy_loss_distribution.PrivacyLossDistribution(
            _replace_one_pmf(ratio, probability)
        )
    return privacy_loss_distribution.from_gaussian_mechanism(
        ratio,
        sampling_prob=probability,
        value_discretization_interval=_grid(ratio, probability),
    )


def _grid(ratio, probability):
    """Discretisation of the privacy loss: a fraction of its spread in one round.

    Connect-the-dots PLDs (Doroshenko et al. 2022, arXiv 2207.04380) are upper bounds at
    any grid. This one is within 1e-4 of a grid ten times finer wherever epsilon is not
    negligible, and at most 10,000 points keep a round's epsilon in the order of 10 ms.
    """
    largest = 10 / ratio + 0.5 / ratio**2
    span = math.log1p(probability * math.expm1(largest)) if largest < 700 else largest
    chi_squared = math.expm1(min(ratio**-2, 700.0))
    spread = min(probability * math.sqrt(chi_squared), 1 / ratio)
    return max(span / 10_000, min(spread / 100, 4e-3))


def _replace_one_pmf(ratio: float, probability: float) -> pld_pmf.PLDPmf:
    """Dominating pair of one round of sampling without replacement, replace-one.

    With P, Q Gaussians one sensitivity apart and q the fraction sampled, Theorem 9 of
    Balle et al. (2018, arXiv 1807.01647) bounds the hockey-stick divergence at
    alpha >= 1 by f(alpha) = H_alpha((1 - q) Q + q P || Q), which is dp-accounting's
    REMOVE. Both orders of the neighbours obey it, so that below 1 the bound is
    f(alpha) = alpha f(1 / alpha) + 1 - alpha = H_alpha(Q || (1 - q) Q + q P), its ADD.
    Together they are convex: with TV the total variation of P and Q, the slope left of 1,
    q TV - (1 + TV) / 2, is at most the one right of it, -(1 - TV) / 2. A convex profile
    is that of a pair of distributions, which dominates the round in either order,
    whatever was released before, and such pairs compose (Zhu et al. 2022, arXiv
    2106.08567).
    """
    grid = _grid(ratio, probability)
    types = privacy_loss_mechanism.AdjacencyType
    remove, add = (
        privacy_loss_mechanism.GaussianPrivacyLoss(
            ratio, sampling_prob=probability, adjacency_type=kind
        )
        for kind in (types.REMOVE, types.ADD)
    )
    top = math.ceil(remove.connect_dots_bounds().epsilon_upper / grid)
    above = remove.get_delta_for_epsilon(np.arange(0, top + 1) * grid)
    below = add.get_delta_for_epsilon(np.arange(-top, 0) * grid)
    return pld_pmf.create_pmf_pessimistic_connect_dots_fixed_gap(
        grid, -top, top, np.concatenate([below, above])
    )


class _NoConvergenceWarnings(logging.Filter):
    """Drops a warning about RDP orders that the minimum over orders leaves out."""

    def filter(self, record):
        return 'failed to converge' not in record.getMessage()


@functools.lru_cache(maxsize=4096)
def _rdp_epsilon(event, count, delta):
    without_replacement = isinstance(event, dp_accounting.SampledWithoutReplacementDpEvent)
    # Only to reach the analysis of the sampling: the noise is over the sensitivity of the
    # relation already, and this accountant takes it so under either.
    ledger = rdp.RdpAccountant(
        neighboring_relation=_REPLACE if without_replacement else _ADD_OR_REMOVE
    )
    logger = logging.getLogger('absl')
    quiet = _NoConvergenceWarnings()
    logger.addFilter(quiet)
    try:
        ledger.compose(event, count)
        return float(ledger.get_epsilon(delta))
    finally:
        logger.removeFilter(quiet)


# Name (as in --accountant) -> epsilon of (one round's event, number of rounds, delta).
ACCOUNTANTS = {'pld': _pld_epsilon, 'rdp': _rdp_epsilon}

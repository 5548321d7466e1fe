"""Epsilon of a composition of rounds, by PLD or RDP.

dp-accounting measures a Gaussian's noise against the sensitivity of the relation
at hand and, depending on version, accountant and relation, doubles that
sensitivity itself or does not: for one Gaussian with z = 1 and delta = 1e-5
under REPLACE_ONE, 0.4.3 says 4.38 (PLD) and 0.6.0 says 10.0 (PLD) but 4.73
(RDP). So nothing here asks it about REPLACE_ONE of a plain Gaussian. The plan
divides the noise by the derived sensitivity first, and the accountants below see
a Gaussian of sensitivity 1 under the relation whose subsampling they know.
"""

import functools
import importlib.metadata
import logging
import math

import dp_accounting
from dp_accounting import pld
from dp_accounting import rdp

from dp_fedemb import validate

# Connect-the-dots PLDs are upper bounds at any grid; 1e-4 is for figures that are
# published, 1e-2 (a hundred times faster, equal to about 5 digits here) for those
# that are shown while training.
FINE_GRID = 1e-4
COARSE_GRID = 1e-2


def accountant_version() -> str:
    """Returns the version of dp-accounting that computes."""
    return importlib.metadata.version('dp-accounting')


def _pld(relation, grid):
    return pld.PLDAccountant(relation, value_discretization_interval=grid)


def _rdp(relation, grid):
    del grid
    return rdp.RdpAccountant(neighboring_relation=relation)


ACCOUNTANTS = {'pld': _pld, 'rdp': _rdp}


class _NoConvergenceWarnings(logging.Filter):
    """Drops a warning about RDP orders that the minimum over orders leaves out."""

    def filter(self, record):
        return 'failed to converge' not in record.getMessage()


@functools.lru_cache(maxsize=4096)
def epsilon(
    event: dp_accounting.DpEvent,
    rounds: int,
    delta: float,
    relation: dp_accounting.NeighboringRelation,
    accountant: str = 'pld',
    grid: float = FINE_GRID,
) -> float:
    """Returns the epsilon at `delta` of `rounds` compositions of `event`.

    >>> one = dp_accounting.GaussianDpEvent(1.0)
    >>> relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    >>> round(epsilon(one, 1, 1e-5, relation), 3)
    4.377

    Args:
        event: one round, its noise relative to the sensitivity.
        rounds: number of identical rounds.
        delta: in (0, 1).
        relation: the relation that `event` is stated under.
        accountant: `pld` or `rdp`.
        grid: discretisation of the privacy loss, for PLD.

    Raises:
        ValueError: for an unknown accountant, or one without an analysis of `event`.
    """
    validate.one_of('accountant', accountant, ACCOUNTANTS)
    if rounds == 0:
        return 0.0
    ledger = ACCOUNTANTS[accountant](relation, grid)
    logger = logging.getLogger('absl')
    quiet = _NoConvergenceWarnings()
    logger.addFilter(quiet)
    try:
        ledger.compose(event, rounds)
        return float(ledger.get_epsilon(delta))
    except dp_accounting.UnsupportedEventError as error:
        raise ValueError(
            f'accountant={accountant!r}: no analysis of {event} under {relation.name}'
        ) from error
    finally:
        logger.removeFilter(quiet)


def zcdp_epsilon(rho: float, delta: float) -> float:
    """Returns epsilon of rho-zCDP at `delta`.

    Bun and Steinke (2016, arXiv 1605.02065) define it; the conversion is the tight
    one over Renyi orders of Canonne, Kamath and Steinke (2020, arXiv 2004.00010,
    Proposition 12), which for a Gaussian mechanism's rho is an upper bound.
    """
    validate.non_negative(rho=rho)
    if rho == 0:
        return 0.0
    best = math.inf
    # Any order gives a valid bound; the optimum lies near 1 + sqrt(log(1/delta)/rho).
    centre = math.sqrt(math.log(1 / delta) / rho)
    for step in range(-400, 401):
        order = 1 + centre * 1.01**step
        bound = order * rho + (
            math.log(1 / (order * delta)) / (order - 1) + math.log1p(-1 / order)
        )
        best = min(best, bound)
    return max(best, 0.0)

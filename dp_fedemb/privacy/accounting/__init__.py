"""Epsilon and delta of rounds: upper bounds, floating-point error included.

Everything is stated in noise over the sensitivity that the plan derived, so that no
accountant has an opinion on how large the sensitivity of a relation is. (dp-accounting
has, and it depends on version and accountant: for one Gaussian with z = 1 and delta =
1e-5 under REPLACE_ONE, 0.4.3 says 4.38 (PLD) and 0.6.0 says 10.0 (PLD) but 4.73 (RDP).)

    gaussian     rounds without sampling: the closed form
    pairs        distributions whose privacy loss is that of a round that samples
    one_round    their losses as point masses that dominate, and why
    composition  rounds composed by a Fourier transform, its error bounded and added
    renyi        the other bound: Renyi divergences
    windows      what makes a composition exact and fast; bounds do not depend on it
    rounds       the least of the bounds

The bounds are proven for noise over sensitivity from 1e-4 to 1e9 (plain Gaussians: from
1e-8 to 1e12), q from 1e-15 to 1, up to 1e8 rounds, and delta from 1e-300 to below 1,
given that NumPy's and SciPy's elementary functions are off by at most a few units in the
last place. Everything else is refused.
"""

import math
import numbers
from typing import Any

import dp_fedemb
from dp_fedemb import validate
from dp_fedemb.privacy import analysis as analysis_lib
from dp_fedemb.privacy.accounting import gaussian
from dp_fedemb.privacy.accounting import renyi
from dp_fedemb.privacy.accounting import rounds as rounds_lib

ACCOUNTANTS = ('pld', 'rdp')

RATIOS = (1e-4, 1e9)
GAUSSIAN_RATIOS = (1e-8, 1e12)
PROBABILITIES = (1e-15, 1.0)
MOST_ROUNDS = 10**8
LEAST_DELTA = 1e-300


def accountant_version() -> str:
    """Returns what computes, and its version."""
    return f'dp_fedemb {dp_fedemb.__version__}'


def _number(name: str, value: Any, least: float, most: float, advice: str) -> float:
    """Returns a number in a range as float; refuses everything else in one line."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not least <= value <= most:
        raise ValueError(
            f'{name}={value!r}: expected a number from {least:g} to {most:g}, where the'
            f' bounds are proven; {advice}'
        )
    return float(value)


def _checked(analysis: analysis_lib.Analysis) -> analysis_lib.Analysis:
    """Returns an analysis in range; Gaussians, and rounds without sampling, as one."""
    advice = 'change the noise multiplier'
    if isinstance(analysis, analysis_lib.Gaussian):
        _number('ratio', analysis.ratio, *GAUSSIAN_RATIOS, advice)
        return analysis
    if not isinstance(analysis, analysis_lib.SampledGaussian):
        raise ValueError(f'analysis={analysis!r}: expected one of privacy.analysis')
    validate.one_of('kind', analysis.kind, analysis_lib.KINDS)
    ratio = _number('ratio', analysis.ratio, *RATIOS, advice)
    q = _number('probability', analysis.probability, *PROBABILITIES, 'change users a round')
    rounds = _number('rounds', analysis.rounds, 0, MOST_ROUNDS, 'train for fewer')
    if rounds % 1:
        raise ValueError(f'rounds={rounds!r}: expected a whole number')
    if q == 1 and rounds:
        return analysis_lib.Gaussian(
            1 / rounds_lib.unsampled_mu(analysis.kind, ratio, int(rounds))
        )
    return analysis_lib.SampledGaussian(analysis.kind, ratio, q, int(rounds))


def epsilon(analysis: analysis_lib.Analysis, delta: float, accountant: str = 'pld') -> float:
    """Returns an upper bound of epsilon at `delta`.

    >>> round(epsilon(analysis_lib.Gaussian(1.0), 1e-5), 4)
    4.3772
    >>> replaced = analysis_lib.SampledGaussian('replaced', 0.62, 32 * 8 / 3400, 200)
    >>> round(epsilon(replaced, 3400**-1.1), 2)
    22.94

    Args:
        analysis: of a plan, see `privacy.analysis`.
        delta: of the guarantee.
        accountant: `rdp`, or `pld`: exact for Gaussians, elsewhere the least of the bounds
            by composed losses and by Renyi divergences.

    Raises:
        ValueError: for values outside the range in which this is proven.
    """
    validate.one_of('accountant', accountant, ACCOUNTANTS)
    delta = _number('delta', delta, LEAST_DELTA, 1 - 2**-53, 'change delta')
    analysis = _checked(analysis)
    if isinstance(analysis, analysis_lib.Gaussian):
        bound = renyi.gaussian_epsilon if accountant == 'rdp' else gaussian.epsilon
        return bound((1 + 1e-15) / analysis.ratio, math.log(delta))
    if analysis.rounds == 0:
        return 0.0
    numbers_of_rounds = analysis.kind, analysis.ratio, analysis.probability, analysis.rounds
    return rounds_lib.epsilon(*numbers_of_rounds, math.log(delta), accountant)


def delta(analysis: analysis_lib.Analysis, epsilon: float) -> float:
    """Returns an upper bound of delta at `epsilon`, at least 1e-300 unless no rounds.

    >>> delta(analysis_lib.Gaussian(1.0), 4.3772) < 1.0001e-5
    True

    Raises:
        ValueError: for values outside the range in which this is proven.
    """
    epsilon = _number('epsilon', epsilon, 0.0, 1e300, 'change epsilon')
    analysis = _checked(analysis)
    if isinstance(analysis, analysis_lib.Gaussian):
        mu = (1 + 1e-15) / analysis.ratio
        log_delta = gaussian.log_delta(epsilon / mu - mu / 2, mu)
    elif analysis.rounds == 0:
        return 0.0
    else:
        log_delta = rounds_lib.log_delta(
            analysis.kind, analysis.ratio, analysis.probability, analysis.rounds, epsilon
        )
    return min(max(math.exp(log_delta) * (1 + 1e-12), LEAST_DELTA), 1.0)

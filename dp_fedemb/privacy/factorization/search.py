"""Coefficients by descent on the error at a given privacy.

The figure of a strategy is log(mean squared error) + log(squared sensitivity), which does
not change when the strategy is multiplied by a number. Both are smooth in the first column
of C, and so is C in the parameters of a family of strategies.
"""

from collections.abc import Callable

import numpy as np
from scipy import optimize
from scipy import signal

from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.factorization import sensitivity
from dp_fedemb.privacy.factorization import series
from dp_fedemb.privacy.factorization import workload as workload_lib

# From a gradient with respect to the first column of C to one with respect to parameters.
PullBack = Callable[[np.ndarray], np.ndarray]
# From parameters to the first column, and the way back for gradients.
Family = Callable[[np.ndarray], tuple[np.ndarray, PullBack]]


def minimise(
    family: Family,
    start: np.ndarray,
    workload: workload_lib.Workload,
    participation: participation_lib.ParticipationSchedule,
) -> np.ndarray:
    """Returns parameters of least error at a given privacy, found from `start`.

    The sensitivity on the way is that of the earliest pattern; whether it is the right
    one for the strategy found is the caller's to check with `sensitivity.squared`.

    Args:
        family: as `Family`.
        start: first parameters.
        workload: whose error counts.
        participation: whose sensitivity counts.
    """

    def figure(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        column, pull_back = family(parameters)
        noise = series.inverse(column, workload.rounds)
        if not np.all(np.isfinite(noise)) or np.abs(noise).max() > 1e6:
            return 1e3, np.zeros(len(parameters))
        error, by_noise = workload.mean_squared_error(noise)
        # Of |C|, which bounds that of C: strategies with negative parts gain nothing by
        # products of columns that cancel, since updates may have opposite signs too.
        squared, by_size = sensitivity.leading_pattern(np.abs(column), participation)
        by_column = by_size * np.sign(column)
        # A change d of c moves 1 / c by -d / c^2.
        minus_squared_inverse = -signal.convolve(noise, noise)[: workload.rounds]
        through_noise = transposed_product(minus_squared_inverse, by_noise)
        gradient = through_noise / error + by_column / squared
        return float(np.log(error) + np.log(squared)), pull_back(gradient)

    if len(start) == 0:
        return start
    options = {'maxiter': 2000, 'maxfun': 4000}
    return optimize.minimize(figure, start, jac=True, method='L-BFGS-B', options=options).x


def transposed_product(factor: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Returns the transposed Toeplitz matrix of `factor` times a vector."""
    return signal.convolve(factor, vector[::-1])[: len(vector)][::-1]

"""Lower-triangular Toeplitz matrices as power series.

Such a matrix is given by its first column c_0, c_1, ..., the coefficients of
c(x) = sum c_j x^j; products and inverses of matrices are those of the series, cut off
after as many terms as the matrix has rows (Fichtenberger et al. 2022, arXiv 2202.11205).
"""

import numpy as np
from scipy import signal


def quotient(numerator: np.ndarray, denominator: np.ndarray, length: int) -> np.ndarray:
    """Returns the first `length` coefficients of numerator(x) / denominator(x).

    >>> quotient(np.array([1.0]), np.array([1.0, -1.0]), 4)  # 1 / (1 - x)
    array([1., 1., 1., 1.])

    Args:
        numerator: coefficients, those left out are zero.
        denominator: likewise; the first must not be zero.
        length: number of coefficients.
    """
    padded = np.zeros(length)
    kept = min(length, len(numerator))
    padded[:kept] = numerator[:kept]
    return signal.lfilter([1.0], denominator[:length], padded)


def inverse(series: np.ndarray, length: int) -> np.ndarray:
    """Returns the first `length` coefficients of 1 / series(x)."""
    return quotient(np.ones(1), series, length)


def square_root(momentum: float, length: int) -> np.ndarray:
    """Returns coefficients of (1 - x)^(1/2) (1 - momentum x)^(1/2).

    Its inverse is the square root of the workload of SGD with momentum, see `workload`.
    """
    steps = np.arange(1, length)
    # Binomial series: coefficient j of (1 - x)^(1/2) is that before times (j - 3/2) / j.
    root = np.concatenate([np.ones(1), np.cumprod((steps - 1.5) / steps)])
    return np.convolve(root, root * momentum ** np.arange(length))[:length]


def matrix(series: np.ndarray, length: int) -> np.ndarray:
    """Returns the matrix [length, length]; for small sizes."""
    padded = np.zeros(length)
    kept = min(length, len(series))
    padded[:kept] = series[:kept]
    lags = np.subtract.outer(np.arange(length), np.arange(length))
    return np.where(lags >= 0, padded[np.maximum(lags, 0)], 0.0)

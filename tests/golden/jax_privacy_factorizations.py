"""Prints the values of `test_factorizations.py`, by jax_privacy 2.0.0 (in its own venv).

    python -m venv /tmp/jax_privacy && /tmp/jax_privacy/bin/pip install jax-privacy==2.0.0
    /tmp/jax_privacy/bin/python tests/golden/jax_privacy_factorizations.py

No part of the test suite runs it; it says where the numbers are from.
"""

import jax

jax.config.update('jax_enable_x64', True)

from jax_privacy.matrix_factorization import buffered_toeplitz  # noqa: E402
from jax_privacy.matrix_factorization import sensitivity  # noqa: E402
from jax_privacy.matrix_factorization import toeplitz  # noqa: E402
import numpy as np  # noqa: E402


def main():
    for rounds, bands in ((50, 1), (50, 5), (100, 20), (200, 64)):
        column = toeplitz.optimize_banded_toeplitz(rounds, bands)
        errors = toeplitz.per_query_error(strategy_coef=column, n=rounds)
        print('banded', rounds, bands, float(errors.mean()) ** 0.5)
    with_momentum = np.cumsum(0.9 ** np.arange(100))
    for noise in ([1.0, -0.95], [1.0, -0.6, -0.1]):
        errors = toeplitz.per_query_error(
            noising_coef=np.pad(noise, (0, 100 - len(noise))), workload_coef=with_momentum
        )
        print('error', noise, float(errors.mean()))
    root = toeplitz.optimal_max_error_strategy_coefs(60)
    for separation in (1, 7, 20, 60):
        squared = toeplitz.minsep_sensitivity_squared(root, separation)
        print('minimum separation', separation, float(squared))
    mixed = toeplitz.materialize_lower_triangular(
        np.array([1.0, 0.7, -0.3, 0.2, 0.5, -0.1]), 24
    )
    for epochs in (1, 2, 4, 8):
        print('fixed epochs', epochs, sensitivity.fixed_epoch_sensitivity(mixed, epochs))
    for rounds, separation, buffers in ((100, 50, 1), (100, 50, 3), (500, 50, 2)):
        loss = buffered_toeplitz.LossFn.build_min_sep(rounds, 'mean', separation)
        _, value = buffered_toeplitz.optimize_loss(loss, num_buffers=buffers)
        print('blt', rounds, separation, buffers, float(value) ** 0.5)


if __name__ == '__main__':
    main()

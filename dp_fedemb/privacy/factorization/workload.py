"""What the noise of the rounds does to the model: the error that strategies minimise.

The server's SGD is theta_t = theta_(t-1) + eta_t v_t with v_t = beta v_(t-1) + g_t. A
noise n_s on the update of round s is therefore in the model after round t with weight

    A[t, s] = sum over r from s to t of eta_r beta^(r - s),

the workload matrix (Denisov et al. 2022, arXiv 2202.08312, section 4, for momentum and
learning rates). With n = C^-1 Z, Z independent of standard deviation 1, the error is

    mean over t of the variance of a weight of theta_t = ||A C^-1||_F^2 / T.

Where the average of the models with decay gamma is what counts, theta_t above is

    sum over r up to t of gamma^(t - r) theta_r, over the sum of the weights.

The error is that of the models if the updates did not react to it, which is what all strategies
of the literature minimise; multiplied by the squared sensitivity of C it is the figure by
which strategies of the same privacy are compared (`rms_error`).
"""

import dataclasses
import functools
from typing import Optional

import numpy as np
from scipy import signal

from dp_fedemb import validate
from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.factorization import sensitivity
from dp_fedemb.privacy.factorization import series

# Where the rate changes, the error is a quadratic form with the square of the rounds.
_MOST_ROUNDS_WITH_RATES = 4096


@dataclasses.dataclass(frozen=True)
class Workload:
    """Rounds of the server's SGD.

    >>> Workload(rounds=4).mean_squared_error(np.ones(1))[0]  # Variances 1, 2, 3, 4.
    2.5

    Attributes:
        rounds: T, planned.
        momentum: beta of the server's SGD, in [0, 1).
        rates: eta of each round over the base rate; None for a constant one.
        averaging: gamma of the average that counts, in [0, 1); 0 for the model itself.
    """

    rounds: int
    momentum: float = 0.0
    rates: Optional[tuple[float, ...]] = None
    averaging: float = 0.0

    def __post_init__(self) -> None:
        validate.positive(rounds=self.rounds)
        for name in ('momentum', 'averaging'):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f'{name}={getattr(self, name)!r}: expected within [0, 1)')
        if self.rates is not None and len(self.rates) != self.rounds:
            raise ValueError(
                f'rates of {len(self.rates)} rounds: expected one for each of {self.rounds}'
            )

    def matrix(self) -> np.ndarray:
        """Returns A, float64 [rounds, rounds]; for small numbers of rounds."""
        return self.model_noise(np.eye(self.rounds))

    def model_noise(self, noises: np.ndarray) -> np.ndarray:
        """Returns what noises of the rounds are in the model after each round.

        Args:
            noises: [rounds, draws], what of each draw is in the update of a round.

        Returns:
            Float64 [rounds, draws].
        """
        velocity = signal.lfilter([1.0], [1.0, -self.momentum], noises, axis=0)
        rates = np.ones(self.rounds) if self.rates is None else np.array(self.rates)
        models = np.cumsum(rates[:, None] * velocity, axis=0)
        weighted = signal.lfilter([1 - self.averaging], [1.0, -self.averaging], models, axis=0)
        return weighted / _sums_of_weights(self.averaging, self.rounds)[:, None]

    def mean_squared_error(self, noise: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns ||A C^-1||_F^2 / T and its gradient.

        Args:
            noise: first column of C^-1, the weight of the draw of j rounds ago;
                coefficients left out are zero.

        Returns:
            The mean over the rounds of the variance of one weight of the model, in
            units of (base rate times standard deviation of a draw) squared; and its
            gradient with respect to the first T coefficients.

        Raises:
            ValueError: for rates of too many rounds.
        """
        padded = np.zeros(self.rounds)
        kept = min(self.rounds, len(noise))
        padded[:kept] = noise[:kept]
        value = self._constant_rate if self.rates is None else self._any_rates
        return value(padded)

    def _constant_rate(self, noise: np.ndarray) -> tuple[float, np.ndarray]:
        # But for the sums of weights A is Toeplitz: 1 / ((1 - x) (1 - beta x)) and the
        # average's (1 - gamma) / (1 - gamma x); and so is A C^-1.
        gamma = self.averaging
        denominator = np.convolve([1.0, -1 - self.momentum, self.momentum], [1.0, -gamma])
        response = signal.lfilter([1 - gamma], denominator, noise)
        # A response of j rounds ago is in the models of the rounds from j on.
        inverse_squares = _sums_of_weights(gamma, self.rounds) ** -2
        weighted = np.cumsum(inverse_squares[::-1])[::-1] * response / self.rounds
        gradient = signal.lfilter([1 - gamma], denominator, 2 * weighted[::-1])[::-1]
        return float(weighted @ response), gradient

    def _any_rates(self, noise: np.ndarray) -> tuple[float, np.ndarray]:
        if self.rounds > _MOST_ROUNDS_WITH_RATES:
            raise ValueError(
                f'rates of {self.rounds} rounds: their noise is computed for at most'
                f' {_MOST_ROUNDS_WITH_RATES}; choose a constant rate for the strategy'
            )
        denominator = np.array([1.0, -self.momentum])
        velocity = signal.lfilter([1.0], denominator, noise)
        by_velocity = _quadratic_form(self.rates or (), self.averaging) @ velocity
        gradient = signal.lfilter([1.0], denominator, 2 * by_velocity[::-1])[::-1]
        return float(velocity @ by_velocity), gradient


def _sums_of_weights(averaging: float, rounds: int) -> np.ndarray:
    """1 - gamma times the sum of the weights of an average, after each round."""
    return 1 - averaging ** np.arange(1.0, rounds + 1)


@functools.lru_cache(maxsize=1)
def _quadratic_form(rates: tuple[float, ...], averaging: float) -> np.ndarray:
    """Matrix G whose v' G v is the error of a velocity v_j, j rounds after the draw.

    A draw of round s is in the step of round r with eta_r v_(r - s), and a step of round r
    in the model of round t with 1 - gamma^(t - r + 1) over the sum of weights W_t. So
    G[i, j] is the sum over s of eta_(s+i) eta_(s+j) K(s + i, s + j) / T, and K(q, r), q <= r,
    that of (1 - gamma^(t-q+1)) (1 - gamma^(t-r+1)) / W_t^2 over t from r on.
    """
    rounds, gamma = len(rates), averaging
    eta = np.array(rates)
    inverse_squares = _sums_of_weights(gamma, rounds) ** -2
    # Sums over t from r on of gamma^(e (t - r)) / W_t^2.
    sums = [
        signal.lfilter([1.0], [1.0, -(gamma**power)], inverse_squares[::-1])[::-1]
        for power in (0, 1, 2)
    ]
    form = np.empty((rounds, rounds))
    for lag in range(rounds):
        both = sums[0] - (gamma + gamma ** (lag + 1)) * sums[1]
        both += gamma ** (lag + 2) * sums[2]
        # Of q = r - lag, for r from lag on.
        products = eta[: rounds - lag] * eta[lag:] * both[lag:]
        diagonal = np.cumsum(products[::-1])[::-1] / rounds
        places = np.arange(rounds - lag)
        form[places, places + lag] = form[places + lag, places] = diagonal
    return form


def rms_error(
    workload: Workload,
    strategy: np.ndarray,
    participation: participation_lib.ParticipationSchedule,
) -> float:
    """Returns the root mean square noise in the iterates at a noise over sensitivity of 1.

    In units of the server's base rate times C: at the same epsilon, mechanisms without
    amplification compare by this figure alone.

    Args:
        workload: rounds of the server's SGD.
        strategy: first column of C, [rounds]; fewer are followed by zeros.
        participation: in which rounds a user can take part.
    """
    noise = series.inverse(strategy, workload.rounds)
    error, _ = workload.mean_squared_error(noise)
    return (error * sensitivity.squared(strategy, participation, workload.rounds)) ** 0.5

"""What the noise of the rounds does to the model: the error that strategies minimise.

The server's SGD is theta_t = theta_(t-1) + eta_t v_t with v_t = beta v_(t-1) + g_t. A
noise n_s on the update of round s is therefore in the model after round t with weight

    A[t, s] = sum over r from s to t of eta_r beta^(r - s),

the workload matrix (Denisov et al. 2022, arXiv 2202.08312, section 4, for momentum and
learning rates). With n = C^-1 Z, Z independent of standard deviation 1, the error is

    mean over t of the variance of a weight of theta_t = ||A C^-1||_F^2 / T.

It is that of the iterates if the updates did not react to it, which is what all strategies
of the literature minimise; multiplied by the squared sensitivity of C it is the figure by
which strategies of the same privacy are compared (`rms_error`).
"""

import dataclasses
from typing import Optional

import numpy as np
from scipy import signal

from dp_fedemb import validate
from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.factorization import sensitivity
from dp_fedemb.privacy.factorization import series


@dataclasses.dataclass(frozen=True)
class Workload:
    """Rounds of the server's SGD.

    >>> Workload(rounds=4).mean_squared_error(np.ones(1))[0]  # Variances 1, 2, 3, 4.
    2.5

    Attributes:
        rounds: T, planned.
        momentum: beta of the server's SGD, in [0, 1).
        rates: eta of each round over the base rate; None for a constant one.
    """

    rounds: int
    momentum: float = 0.0
    rates: Optional[tuple[float, ...]] = None

    def __post_init__(self) -> None:
        validate.positive(rounds=self.rounds)
        if not 0 <= self.momentum < 1:
            raise ValueError(f'momentum={self.momentum!r}: expected a number in [0, 1)')
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
        return np.cumsum(self._rates()[:, None] * velocity, axis=0)

    def mean_squared_error(self, noise: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns ||A C^-1||_F^2 / T and its gradient.

        Args:
            noise: first column of C^-1, the weight of the draw of j rounds ago;
                coefficients left out are zero.

        Returns:
            The mean over the rounds of the variance of one weight of the model, in
            units of (base rate times standard deviation of a draw) squared; and its
            gradient with respect to the first T coefficients.
        """
        padded = np.zeros(self.rounds)
        kept = min(self.rounds, len(noise))
        padded[:kept] = noise[:kept]
        value = self._constant_rate if self.rates is None else self._any_rates
        return value(padded)

    def _constant_rate(self, noise: np.ndarray) -> tuple[float, np.ndarray]:
        # A is Toeplitz: 1 / ((1 - x) (1 - beta x)), and so is A C^-1.
        denominator = np.array([1.0, -1 - self.momentum, self.momentum])
        response = signal.lfilter([1.0], denominator, noise)
        # A response of j rounds ago is in the models of T - j rounds.
        weighted = np.arange(self.rounds, 0, -1) * response / self.rounds
        gradient = signal.lfilter([1.0], denominator, 2 * weighted[::-1])[::-1]
        return float(weighted @ response), gradient

    def _any_rates(self, noise: np.ndarray) -> tuple[float, np.ndarray]:
        rates, denominator = self._rates(), np.array([1.0, -self.momentum])
        velocity = signal.lfilter([1.0], denominator, noise)
        weights = rates[:, None] * series.matrix(velocity, self.rounds)  # Round, draw.
        response = np.cumsum(weights, axis=0)
        # Of a step of round r: the models from r on.
        later = 2 * np.cumsum(response[::-1], axis=0)[::-1] * rates[:, None]
        by_lag = np.array([np.trace(later, -lag) for lag in range(self.rounds)])
        gradient = signal.lfilter([1.0], denominator, by_lag[::-1])[::-1]
        return float(np.sum(response**2)) / self.rounds, gradient / self.rounds

    def _rates(self) -> np.ndarray:
        return np.ones(self.rounds) if self.rates is None else np.array(self.rates)


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

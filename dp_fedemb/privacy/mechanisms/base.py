"""What a mechanism states of itself: clip, noise, and what it costs.

The TensorFlow side (what is computed) is in `dp_fedemb.aggregation`, one file
with the same name; this side is what the accountant sees.
"""

import dataclasses
import math
from typing import ClassVar, Optional

import numpy as np

from dp_fedemb import settings
from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy import sensitivity
from dp_fedemb.privacy.factorization import workload as workload_lib


@dataclasses.dataclass(frozen=True)
class Mechanism:
    """A way of clipping and noising the sum of a round's updates.

    Attributes:
        clip_norm: C, L2 bound of one virtual client's backbone update.
        noise_multiplier: z, standard deviation of the noise on the sum over C.
    """

    name: ClassVar[str]
    # Whether rounds are noised independently, so that they compose one by one.
    independent_rounds: ClassVar[bool] = True
    # Whether the released result is noised at all.
    private: ClassVar[bool] = True
    # What is released beside the model.
    released: ClassVar[tuple[str, ...]] = ()

    clip_norm: float = settings.setting(
        math.inf, "C: L2 bound of a virtual client's backbone update.", within='[1e-9, 1e9]'
    )
    noise_multiplier: float = settings.setting(
        0.0, 'z: standard deviation of the noise on the sum over C.', within='[0, 1e6]'
    )

    def __post_init__(self) -> None:
        settings.check(self)
        if self.noise_multiplier > 0 and math.isinf(self.clip_norm):
            raise ValueError(
                f'noise_multiplier={self.noise_multiplier} without clip_norm: noise bounds'
                ' nothing unless updates are clipped; set clip_norm'
            )

    @property
    def sum_noise_multiplier(self) -> float:
        """Standard deviation of the noise on the sum of updates, over C."""
        return self.noise_multiplier

    @property
    def max_noise_multiplier(self) -> float:
        """Bound, not itself allowed, on the noise multiplier with the other fields fixed."""
        return math.inf

    @property
    def spread(self) -> float:
        """Rounds whose noise hides one update together, its own and the next ones.

        One where rounds are independent; infinite where there is no bound. Where users come
        back no sooner, their updates meet nowhere.
        """
        return 1 if self.independent_rounds else math.inf

    def for_cohort(self, virtual_clients: float) -> 'Mechanism':
        """Returns the mechanism with what follows from the cohort's size filled in.

        Args:
            virtual_clients: expected number of records in a round.

        Raises:
            ValueError: if the mechanism cannot work with so few.
        """
        del virtual_clients
        return self

    def for_schedule(
        self, participation: participation_lib.ParticipationSchedule, rounds: int
    ) -> 'Mechanism':
        """Returns the mechanism with what follows from the schedule filled in.

        Args:
            participation: in which rounds a user can take part.
            rounds: planned.

        Raises:
            ValueError: if the mechanism cannot work with it.
        """
        del participation, rounds
        return self

    def for_other_rounds(self) -> 'Mechanism':
        """Returns the mechanism without what was filled in for a number of rounds."""
        return self

    def scaled(self, factor: float) -> 'Mechanism':
        """Returns the mechanism with all its noise multiplied by `factor`."""
        return dataclasses.replace(self, noise_multiplier=self.noise_multiplier * factor)

    def relative_noise(self, rounds: int) -> Optional[tuple[float, ...]]:
        """Noise of each round's mean over that of one draw.

        None where it is not known before the run, as with a clip norm that adapts.

        Args:
            rounds: the first ones, so many.
        """
        return (1.0,) * rounds if self.independent_rounds else None

    def noise_over_sensitivity(self, change: sensitivity.RecordChange) -> float:
        """Noise of one round over what one unit changes in it.

        With independent rounds, a round in which the unit takes part is a Gaussian
        mechanism of sensitivity 1 and this standard deviation; with a finite `spread`, so
        are the rounds together that a participation is in.
        """
        return self.noise_multiplier / change.update

    def model_variance(self, workload: workload_lib.Workload) -> float:
        """Variance of a weight of the model, its mean over the rounds.

        In units of the server's rate times the standard deviation of a draw (z C), squared,
        for the noise on the sum.

        Args:
            workload: what the server makes of the noise of the rounds.

        Raises:
            ValueError: if it cannot be computed.
        """
        return workload.mean_squared_error(np.ones(1))[0]

    def squared_sensitivity(
        self,
        change: sensitivity.RecordChange,
        participation: participation_lib.ParticipationSchedule,
        rounds: int,
    ) -> float:
        """Squared sensitivity of all rounds together, over the noise's variance.

        For a unit that takes part in the rounds of `participation` without any
        amplification: all rounds together are one Gaussian mechanism (Denisov et al.
        2022, arXiv 2202.08312, Theorem 2.1: adaptive choice of the updates included).
        """
        times = participation.most(rounds)
        return times / self.noise_over_sensitivity(change) ** 2


def require_noise_and_clip(mechanism: Mechanism) -> None:
    """Raises ValueError unless clip and noise are both positive and finite."""
    if mechanism.noise_multiplier == 0 or math.isinf(mechanism.clip_norm):
        raise ValueError(
            f'mechanism={mechanism.name} with clip_norm={mechanism.clip_norm},'
            f' noise_multiplier={mechanism.noise_multiplier}: both must be positive and'
            ' finite; choose clip_only for no noise, none for no clip either'
        )

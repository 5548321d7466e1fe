"""What mechanisms with correlated noise share: a strategy C made for the run's schedule."""

import abc
import dataclasses
from typing import Optional, TypeVar

import numpy as np

from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy import sensitivity as sensitivity_lib
from dp_fedemb.privacy.factorization import sensitivity
from dp_fedemb.privacy.factorization import server
from dp_fedemb.privacy.factorization import strategy as strategy_lib
from dp_fedemb.privacy.factorization import workload as workload_lib
from dp_fedemb.privacy.mechanisms import base
from dp_fedemb.settings import setting

# The search multiplies series of this length.
_MOST_ROUNDS = 20_000

_Self = TypeVar('_Self', bound='Correlated')


@dataclasses.dataclass(frozen=True)
class Correlated(base.Mechanism):
    """Noise C^-1 Z on the rounds' sums, Z independent draws of standard deviation z C.

    The strategy C is lower-triangular and Toeplitz with ones on its diagonal, of least
    error (`factorization.workload`) for the server's momentum and rates, the planned rounds
    and the schedule's participations. All rounds together are one Gaussian mechanism whose
    sensitivity is C's (`factorization.sensitivity`), for the rounds completed: fewer than
    planned cost less, and more of them continue the same C.

    Attributes:
        noise_multiplier: z, standard deviation of one draw over C.
        strategy_momentum: beta of the server's SGD that C is made for; 0 by default.
        strategy_lr_schedule: of the server's rate that C is made for, one of
            `server.LR_SCHEDULES`; constant by default.
        strategy_averaging: decay of the average of the models that C is made for; 0, for
            the models themselves, by default.
        strategy_rounds: rounds that C is made for; those planned by default.
        strategy: C; a plan fills it in.
    """

    independent_rounds = False

    strategy_momentum: Optional[float] = setting(
        None,
        "Correlated noise: momentum that it is made for; the server's by default.",
        within='[0, 1)',
    )
    strategy_lr_schedule: Optional[str] = setting(
        None,
        "Correlated noise: schedule of the server's rate that it is made for; the server's by"
        ' default.',
        choices=server.LR_SCHEDULES,
        absent='constant',
    )
    strategy_averaging: Optional[float] = setting(
        None,
        'Correlated noise: decay of the average of models that it is made for; by default it is'
        ' made for the models themselves.',
        absent=0.0,
        within='[0, 1)',
    )
    strategy_rounds: Optional[int] = setting(
        None,
        'Correlated noise: rounds that it is made for; those planned by default.',
        within='[1, 20000]',
    )
    strategy: Optional[strategy_lib.Strategy] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        base.require_noise_and_clip(self)

    def for_schedule(
        self: _Self, participation: participation_lib.ParticipationSchedule, rounds: int
    ) -> _Self:
        """Returns the mechanism with the strategy for a schedule filled in.

        Args:
            participation: in which rounds a user can take part.
            rounds: planned.

        Raises:
            ValueError: for a strategy that the schedule does not allow.
        """
        planned = self.strategy_rounds or rounds
        if planned > _MOST_ROUNDS:
            raise ValueError(
                f'mechanism={self.name} for {planned} rounds: a strategy is searched for up to'
                f' {_MOST_ROUNDS}, and goes on beyond; set strategy_rounds'
            )
        steps = server.Server(
            self.strategy_momentum or 0.0,
            self.strategy_lr_schedule or 'constant',
            self.strategy_averaging or 0.0,
        )
        return dataclasses.replace(
            self,
            strategy_momentum=steps.momentum,
            strategy_lr_schedule=steps.lr_schedule,
            strategy_averaging=steps.averaging,
            strategy_rounds=planned,
            strategy=self._optimal(steps.workload(planned), participation),
        )

    def for_other_rounds(self: _Self) -> _Self:
        """Returns the mechanism with its strategy to be made anew."""
        return dataclasses.replace(self, strategy_rounds=None)

    @abc.abstractmethod
    def _optimal(
        self,
        workload: workload_lib.Workload,
        participation: participation_lib.ParticipationSchedule,
    ) -> strategy_lib.Strategy:
        """Returns C for a schedule."""

    def resolved_strategy(self) -> strategy_lib.Strategy:
        """Returns C.

        Raises:
            ValueError: if no plan has filled it in.
        """
        if self.strategy is None:
            raise ValueError(
                'strategy=None: it follows from the schedule; take the mechanism from a'
                ' PrivacyPlan, or call for_schedule(participation, rounds)'
            )
        return self.strategy

    def model_variance(self, workload: workload_lib.Workload) -> float:
        noise = self.resolved_strategy().noise(workload.rounds)
        return workload.mean_squared_error(noise)[0]

    def relative_noise(self, rounds: int) -> Optional[tuple[float, ...]]:
        column = self.resolved_strategy().noise(rounds)
        return tuple(np.sqrt(np.cumsum(np.square(column))).tolist())

    def squared_sensitivity(
        self,
        change: sensitivity_lib.RecordChange,
        participation: participation_lib.ParticipationSchedule,
        rounds: int,
    ) -> float:
        column = self.resolved_strategy().column(rounds)
        squared = sensitivity.squared(column, participation, rounds)
        return squared * (change.update / self.noise_multiplier) ** 2

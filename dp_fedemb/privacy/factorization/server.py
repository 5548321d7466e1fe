"""The server's steps, by names: momentum, how its rate falls, and averaging of models.

`learning.schedules` has the same rates in TensorFlow, `learning.server_optimizers` the
steps themselves; a test holds them together.
"""

from collections.abc import Callable
import dataclasses

import numpy as np

from dp_fedemb import validate
from dp_fedemb.privacy.factorization import workload as workload_lib

# Name -> function from progress, in [0, 1), to the factor of the base rate.
LR_SCHEDULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'constant': np.ones_like,
    'linear': lambda progress: 1 - 0.99 * progress,
    'cosine': lambda progress: (1 + np.cos(np.pi * progress)) / 2,
    'step': lambda progress: 0.1 ** np.floor(3 * progress + 1e-9),
}


@dataclasses.dataclass(frozen=True)
class Server:
    """What makes models of the rounds' updates.

    Attributes:
        momentum: beta of its SGD.
        lr_schedule: one of `LR_SCHEDULES`, over the rounds.
        averaging: decay of the average of the models, if that is the one that counts.

    Raises:
        ValueError: for other values.
    """

    momentum: float = 0.0
    lr_schedule: str = 'constant'
    averaging: float = 0.0

    def __post_init__(self) -> None:
        validate.one_of('lr_schedule', self.lr_schedule, LR_SCHEDULES)
        self.workload(1)

    def workload(self, rounds: int) -> workload_lib.Workload:
        """Returns what it makes of the noise of so many planned rounds.

        >>> Server(lr_schedule='linear').workload(4).rates
        (1.0, 0.7525, 0.505, 0.25750000000000006)
        """
        rates = None
        if self.lr_schedule != 'constant':
            factors = LR_SCHEDULES[self.lr_schedule](np.arange(rounds) / rounds)
            rates = tuple(factors.tolist())
        return workload_lib.Workload(rounds, self.momentum, rates, self.averaging)

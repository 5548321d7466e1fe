"""How a virtual client fine-tunes: learning rates, steps and batches."""

import dataclasses

from dp_fedemb import validate

# Names of `schedules.SCHEDULES`, here without TensorFlow, which they need.
LR_SCHEDULES = ('constant', 'linear', 'cosine', 'step')


@dataclasses.dataclass(frozen=True)
class ClientConfig:
    """Local fine-tuning of one virtual client (paper, Algorithm 1, client update).

    Attributes:
        learning_rate: of the backbone, before the schedules of rounds and local steps.
        head_lr_scale: the head's learning rate over the backbone's.
        head_only_steps: first local steps that train the head alone.
        local_epochs: passes over the virtual client's examples.
        batch_size: examples per step; the last batch of a pass may be smaller.
        momentum: of the local SGD; its slots start at zero in every round.
        local_lr_schedule: one of `LR_SCHEDULES`, over all local steps of one virtual
            client in a round, those of `head_only_steps` and of every epoch among
            them. Its factor multiplies the rates of backbone and head alike.
    """

    learning_rate: float = 0.1
    head_lr_scale: float = 1.0
    head_only_steps: int = 0
    local_epochs: int = 1
    batch_size: int = 32
    momentum: float = 0.0
    local_lr_schedule: str = 'constant'

    def __post_init__(self):
        validate.positive(
            client_lr=self.learning_rate,
            head_lr_scale=self.head_lr_scale,
            local_epochs=self.local_epochs,
            batch_size=self.batch_size,
        )
        validate.non_negative(head_only_steps=self.head_only_steps)
        if not 0 <= self.momentum < 1:
            raise ValueError(f'client_momentum={self.momentum!r}: expected a number in [0, 1)')
        validate.one_of('local_lr_schedule', self.local_lr_schedule, LR_SCHEDULES)

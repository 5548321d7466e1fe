"""How a virtual client fine-tunes: learning rates, steps and batches."""

import dataclasses

from dp_fedemb import settings
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

    learning_rate: float = settings.setting(
        0.1, "The backbone's learning rate in local steps.", flag='client_lr'
    )
    head_lr_scale: float = settings.setting(
        1.0, "The head's learning rate over the backbone's."
    )
    head_only_steps: int = settings.setting(0, 'First local steps that train the head alone.')
    local_epochs: int = settings.setting(1, "Passes over a virtual client's examples.")
    batch_size: int = settings.setting(32, 'Examples of a local step.')
    momentum: float = settings.setting(0.0, 'Of local steps.', flag='client_momentum')
    local_lr_schedule: str = settings.setting(
        'constant',
        "Over a virtual client's local steps, times that over rounds; the same names.",
        choices=LR_SCHEDULES,
    )

    def __post_init__(self) -> None:
        validate.finite(learning_rate=self.learning_rate, head_lr_scale=self.head_lr_scale)
        validate.positive(
            learning_rate=self.learning_rate,
            head_lr_scale=self.head_lr_scale,
            local_epochs=self.local_epochs,
            batch_size=self.batch_size,
        )
        validate.non_negative(head_only_steps=self.head_only_steps)
        if not 0 <= self.momentum < 1:
            raise ValueError(f'momentum={self.momentum!r}: expected a number in [0, 1)')
        validate.one_of('local_lr_schedule', self.local_lr_schedule, LR_SCHEDULES)

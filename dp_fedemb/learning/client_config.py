"""How a virtual client fine-tunes: learning rates, steps and batches."""

import dataclasses
from typing import Optional

from dp_fedemb import settings
from dp_fedemb.learning import augmentation_config

# Names of `schedules.SCHEDULES`, here without TensorFlow, which they need.
LR_SCHEDULES = ('constant', 'linear', 'cosine', 'step')


@dataclasses.dataclass(frozen=True)
class ClientConfig:
    """Local fine-tuning of one virtual client (paper, Algorithm 1, client update).

    Attributes:
        learning_rate: of the backbone, before the schedules of rounds and local steps.
        head_lr_scale: the head's learning rate over the backbone's.
        head_only_steps: first local steps that train the head alone; none with a head
            without weights.
        local_epochs: passes over the virtual client's examples.
        batch_size: examples per step; the last batch of a pass may be smaller.
        momentum: of the local SGD; its slots start at zero in every round.
        local_lr_schedule: one of `LR_SCHEDULES`, over all local steps of one virtual
            client in a round, those of `head_only_steps` and of every epoch among
            them. Its factor multiplies the rates of backbone and head alike.
        augmentation: random changes of the images of every step; None for none.
        views: how often each example of a batch is in it, each time changed in its own
            way; a step then sees batch_size * views images.
        images_per_identity: P; the order of a pass puts up to P examples of an identity
            side by side, as losses over the pairs of a batch need; 0 for any order.
    """

    learning_rate: float = settings.setting(
        0.1,
        "The backbone's learning rate in local steps.",
        flag='client_lr',
        within='[1e-12, 1e6]',
    )
    head_lr_scale: float = settings.setting(
        1.0, "The head's learning rate over the backbone's.", within='[1e-12, 1e6]'
    )
    head_only_steps: int = settings.setting(
        0, 'First local steps that train the head alone.', within='[0, 1e6]'
    )
    local_epochs: int = settings.setting(
        1, "Passes over a virtual client's examples.", within='[1, 1e4]'
    )
    batch_size: int = settings.setting(32, 'Examples of a local step.', within='[1, 1e5]')
    momentum: float = settings.setting(
        0.0, 'Of local steps.', flag='client_momentum', within='[0, 0.999999]'
    )
    local_lr_schedule: str = settings.setting(
        'constant',
        "Over a virtual client's local steps, times that over rounds; the same names.",
        choices=LR_SCHEDULES,
    )
    augmentation: Optional[augmentation_config.Augmentation] = settings.setting(
        None,
        f'Of images in local steps: {augmentation_config.HELP}',
        flag='augment',
        parse=augmentation_config.parse,
    )
    views: int = settings.setting(
        1,
        'How often each example of a batch is in it, each time augmented in its own way.',
        within='[1, 100]',
    )
    images_per_identity: int = settings.setting(
        0,
        'Up to so many examples of an identity side by side in a batch; 0 for any order.',
        within='[0, 1e5]',
    )

    def __post_init__(self) -> None:
        settings.check(self)
        if self.views > 1 and not self.augmentation:
            raise ValueError(
                f'views={self.views!r} without augmentation: they would be copies; say how they'
                ' differ (glyph, photo), or leave views at 1'
            )

"""How to pretrain, as frozen values; needs no TensorFlow, so wrong ones show at once."""

import dataclasses
from typing import Optional

from dp_fedemb import settings
from dp_fedemb.learning import augmentation_config
from dp_fedemb.learning import client_config

# Keys of `pretrain.METHODS` and `training_loop.OPTIMIZERS`, here without TensorFlow.
METHODS = ('supervised', 'simclr')
OPTIMIZERS = ('sgd', 'adam')


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Optimisation of one centralised training.

    Attributes:
        epochs: passes over the images; a fraction is possible.
        batch_size: images per step.
        optimizer: one of `OPTIMIZERS`.
        learning_rate: of the backbone, before the schedule.
        head_lr_scale: the head's learning rate over the backbone's.
        momentum: of SGD.
        schedule: one of `client_config.LR_SCHEDULES`, over the steps.
        warmup: fraction of the steps in which the rate first rises from 0.
        augmentation: changes of the training images; None for the method's default.
    """

    epochs: float = settings.setting(10.0, 'Passes over the images.', within='[1e-6, 1e6]')
    batch_size: int = settings.setting(64, 'Images of a step.', within='[1, 1e5]')
    optimizer: str = settings.setting('sgd', 'Of backbone and head.', choices=OPTIMIZERS)
    learning_rate: float = settings.setting(
        0.05, 'Of the backbone, at its highest.', within='[1e-12, 1e6]'
    )
    head_lr_scale: float = settings.setting(
        1.0, "The head's learning rate over the backbone's.", within='[1e-12, 1e6]'
    )
    momentum: float = settings.setting(0.9, 'Of SGD.', within='[0, 0.999999]')
    schedule: str = settings.setting(
        'cosine', 'Over the steps.', choices=client_config.LR_SCHEDULES
    )
    warmup: float = settings.setting(
        0.0, 'Fraction of the steps in which the rate rises from 0.', within='[0, 1]'
    )
    augmentation: Optional[augmentation_config.Augmentation] = settings.setting(
        None,
        f'{augmentation_config.HELP} By default none; with simclr, glyph for images of one'
        ' channel and photo for others.',
        parse=augmentation_config.parse,
    )

    def __post_init__(self) -> None:
        settings.check(self)

    def steps(self, num_examples: int) -> int:
        """Returns the number of steps over `num_examples` images."""
        return max(1, round(self.epochs * num_examples / self.batch_size))


@dataclasses.dataclass(frozen=True)
class PretrainingConfig:
    """How to pretrain.

    Attributes:
        method: one of `METHODS`.
        training: optimisation.
        temperature: of SimCLR's loss.
        projection_dim: of SimCLR's projection.
    """

    method: str = settings.setting(
        'supervised',
        'supervised: softmax over the identities. simclr: without identities.',
        choices=METHODS,
    )
    training: TrainingConfig = TrainingConfig()
    temperature: float = settings.setting(0.5, "Of SimCLR's loss.", within='[1e-3, 1e3]')
    projection_dim: int = settings.setting(64, "Of SimCLR's projection.", within='[1, 1e4]')

    def __post_init__(self) -> None:
        settings.check(self)

    def resolved(self, channels: int) -> 'PretrainingConfig':
        """Returns it with the augmentation that images of so many channels get."""
        if self.training.augmentation is not None:
            return self
        name = 'none'
        if self.method == 'simclr':
            name = 'glyph' if channels == 1 else 'photo'
        training = dataclasses.replace(
            self.training, augmentation=augmentation_config.parse(name)
        )
        return dataclasses.replace(self, training=training)

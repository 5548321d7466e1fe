"""How to pretrain, as frozen values; needs no TensorFlow, so wrong ones show at once."""

import dataclasses
from typing import Any, Optional

from dp_fedemb import settings
from dp_fedemb import validate
from dp_fedemb.learning import client_config

# Keys of `pretrain.METHODS` and `training_loop.OPTIMIZERS`, here without TensorFlow.
METHODS = ('supervised', 'simclr')
OPTIMIZERS = ('sgd', 'adam')

# Pixels from beyond the border; how `ImageProjectiveTransformV3` names it.
FILLS = ('constant', 'nearest', 'reflect')


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Largest change of each kind; all are drawn uniformly and independently.

    Attributes:
        rotation: radians, either way.
        scale: relative change of size, each axis by itself.
        shear: horizontal shift per unit of height.
        shift: fraction of the image side, each axis.
        brightness: added to all pixels of an image in [0, 1].
        contrast: relative change of the distance to the image's mean.
        flip: probability of mirroring left and right. 0 for writing: a mirrored
            character is another one.
        fill: what is beyond the border: 'constant' (0), 'nearest' or 'reflect'.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    flip: float = 0.0
    fill: str = 'constant'

    def __post_init__(self) -> None:
        validate.one_of('fill', self.fill, FILLS)
        validate.probability(flip=self.flip)
        strengths = dataclasses.asdict(self)
        del strengths['fill']
        validate.non_negative(**strengths)
        for name in ('scale', 'contrast'):
            if strengths[name] >= 1:
                raise ValueError(f'{name}={strengths[name]}: expected a number in [0, 1)')

    @property
    def moves(self) -> bool:
        """Whether pixels change their place."""
        return any((self.rotation, self.scale, self.shear, self.shift, self.flip))

    def __bool__(self) -> bool:
        return self.moves or any((self.brightness, self.contrast))


# Name (as in --augmentation) -> strengths.
AUGMENTATIONS = {
    'none': Augmentation(),
    'glyph': Augmentation(rotation=0.2, scale=0.15, shear=0.2, shift=0.07),
    'photo': Augmentation(
        rotation=0.1,
        scale=0.15,
        shift=0.1,
        brightness=0.15,
        contrast=0.3,
        flip=0.5,
        fill='reflect',
    ),
}


def parse_augmentation(text: str) -> Augmentation:
    """Returns the augmentation of a text like 'glyph' or 'glyph:rotation=0.1,flip=0.5'.

    Raises:
        ValueError: for an unknown name or field, or an impossible value.
    """
    name, _, changes = text.partition(':')
    validate.one_of('augmentation', name, AUGMENTATIONS)
    fields = [field.name for field in dataclasses.fields(Augmentation)]
    values: dict[str, Any] = {}
    for change in filter(None, changes.split(',')):
        field, _, value = change.partition('=')
        validate.one_of(f'field of augmentation {text!r}', field, fields)
        try:
            values[field] = value if field == 'fill' else float(value)
        except ValueError:
            raise ValueError(f'augmentation {text!r}: {field}={value!r} is no number') from None
    return dataclasses.replace(AUGMENTATIONS[name], **values)


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

    epochs: float = settings.setting(10.0, 'Passes over the images.')
    batch_size: int = settings.setting(64, 'Images of a step.')
    optimizer: str = settings.setting('sgd', 'Of backbone and head.', choices=OPTIMIZERS)
    learning_rate: float = settings.setting(0.05, 'Of the backbone, at its highest.')
    head_lr_scale: float = settings.setting(
        1.0, "The head's learning rate over the backbone's."
    )
    momentum: float = settings.setting(0.9, 'Of SGD.')
    schedule: str = settings.setting(
        'cosine', 'Over the steps.', choices=client_config.LR_SCHEDULES
    )
    warmup: float = settings.setting(
        0.0, 'Fraction of the steps in which the rate rises from 0.'
    )
    augmentation: Optional[Augmentation] = settings.setting(
        None,
        'none, glyph or photo, with changes after a colon: "glyph:rotation=0.1,shift=0.05".'
        ' Fields: rotation, scale, shear, shift, brightness, contrast, flip, fill. By default'
        ' none; with simclr, glyph for images of one channel and photo for others.',
        parse=parse_augmentation,
    )

    def __post_init__(self) -> None:
        validate.finite(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            head_lr_scale=self.head_lr_scale,
        )
        validate.positive(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            head_lr_scale=self.head_lr_scale,
        )
        validate.one_of('optimizer', self.optimizer, OPTIMIZERS)
        validate.one_of('schedule', self.schedule, client_config.LR_SCHEDULES)
        validate.probability(warmup=self.warmup)
        if not 0 <= self.momentum < 1:
            raise ValueError(f'momentum={self.momentum!r}: expected a number in [0, 1)')

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
    temperature: float = settings.setting(0.5, "Of SimCLR's loss.")
    projection_dim: int = settings.setting(64, "Of SimCLR's projection.")

    def __post_init__(self) -> None:
        validate.one_of('method', self.method, METHODS)
        validate.finite(temperature=self.temperature)
        validate.positive(temperature=self.temperature, projection_dim=self.projection_dim)

    def resolved(self, channels: int) -> 'PretrainingConfig':
        """Returns it with the augmentation that images of so many channels get."""
        if self.training.augmentation is not None:
            return self
        name = 'none'
        if self.method == 'simclr':
            name = 'glyph' if channels == 1 else 'photo'
        training = dataclasses.replace(self.training, augmentation=parse_augmentation(name))
        return dataclasses.replace(self, training=training)

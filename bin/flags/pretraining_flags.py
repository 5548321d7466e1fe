"""Flags of centralised training: bin/pretrain.py, and the public start of bin/train.py."""

from absl import flags

FLAGS = flags.FLAGS


def define(prefix: str = '') -> None:
    """Defines the flags of `config`.

    Args:
        prefix: of their names, where others have the plain ones.
    """
    flags.DEFINE_enum(
        f'{prefix}method',
        'supervised',
        ['supervised', 'simclr'],
        'supervised: softmax over the identities. simclr: without identities.',
    )
    flags.DEFINE_float(f'{prefix}epochs', 10.0, 'Passes over the images.')
    flags.DEFINE_integer(f'{prefix}batch_size', 64, 'Images of a step.')
    flags.DEFINE_enum(f'{prefix}optimizer', 'sgd', ['sgd', 'adam'], 'Of backbone and head.')
    flags.DEFINE_float(f'{prefix}learning_rate', 0.05, 'Of the backbone, at its highest.')
    flags.DEFINE_float(
        f'{prefix}head_lr_scale', 1.0, "The head's learning rate over the backbone's."
    )
    flags.DEFINE_float(f'{prefix}momentum', 0.9, 'Of SGD.')
    flags.DEFINE_string(
        f'{prefix}schedule', 'cosine', 'Over the steps: constant, linear, cosine or step.'
    )
    flags.DEFINE_float(
        f'{prefix}warmup', 0.0, 'Fraction of the steps in which the rate rises from 0.'
    )
    flags.DEFINE_string(
        f'{prefix}augmentation',
        None,
        'none, glyph or photo, with changes after a colon: "glyph:rotation=0.1,shift=0.05".'
        ' Fields: rotation, scale, shear, shift, brightness, contrast, flip, fill. By default'
        ' none; with simclr, glyph for images of one channel and photo for others.',
    )
    flags.DEFINE_float(f'{prefix}temperature', 0.5, "Of SimCLR's loss.")
    flags.DEFINE_integer(f'{prefix}projection_dim', 64, "Of SimCLR's projection.")


def config(channels: int, prefix: str = ''):
    """Builds the `pretrain.PretrainingConfig` that the flags describe.

    Args:
        channels: of the images.
        prefix: as in `define`.
    """
    from dp_fedemb.pretraining import augmentation
    from dp_fedemb.pretraining import pretrain
    from dp_fedemb.pretraining import training_loop

    value = lambda name: FLAGS[prefix + name].value
    changes = value('augmentation')
    if changes is None:
        simclr = 'glyph' if channels == 1 else 'photo'
        changes = simclr if value('method') == 'simclr' else 'none'
    same = (
        'epochs',
        'batch_size',
        'optimizer',
        'learning_rate',
        'head_lr_scale',
        'momentum',
        'schedule',
        'warmup',
    )
    return pretrain.PretrainingConfig(
        method=value('method'),
        training=training_loop.TrainingConfig(
            augmentation=augmentation.parse(changes), **{name: value(name) for name in same}
        ),
        temperature=value('temperature'),
        projection_dim=value('projection_dim'),
    )


def pretrain_public(of_task, unfrozen_model, directory, prefix: str = 'pretrain_') -> None:
    """Pretrains on the public part of a task, unless the directory holds the result.

    Args:
        of_task: the `tasks.Task`.
        unfrozen_model: without --freeze, which is for what comes after.
        directory: for the result, see `pretrain.pretrain_once`.
        prefix: as in `define`.

    Raises:
        ValueError: if the task has no public part.
    """
    from dp_fedemb.pretraining import pretrain

    if of_task.public is None:
        raise ValueError(
            f"pretrained='public': task {of_task.name} has no public part here; it has"
            f' {", ".join(of_task.stores)}. See tasks/{of_task.name}.py for an option that'
            ' makes one, or give a SavedModel'
        )
    pretrain.pretrain_once(
        directory,
        unfrozen_model,
        of_task.public,
        config(of_task.public.image_shape[-1], prefix),
    )

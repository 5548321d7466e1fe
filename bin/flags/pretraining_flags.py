"""Flags of centralised training: bin/pretrain.py, and the public start of bin/train.py."""

import os
import sys
import typing

from absl import flags

from flags import from_settings

from dp_fedemb.pretraining import settings

if typing.TYPE_CHECKING:
    from dp_fedemb import models
    import tasks


def define(prefix: str = '') -> None:
    """Defines the flags of `config`.

    Args:
        prefix: of their names, where others have the plain ones.
    """
    from_settings.define(settings.PretrainingConfig, prefix)


def say_unused(prefix: str) -> None:
    """Says which of the flags were given in vain, where nothing is pretrained.

    No error: they may stand in a file of flags whose start a command line replaces.
    """
    names = [prefix + name for name in from_settings.names(settings.PretrainingConfig)]
    unused = [name for name in names if flags.FLAGS[name].present]
    if unused:
        print(
            f"note: {', '.join(unused)}: not used, since --pretrained is not 'public'",
            file=sys.stderr,
        )


def config(channels: int, prefix: str = '') -> settings.PretrainingConfig:
    """Builds what the flags describe.

    Args:
        channels: of the images.
        prefix: as in `define`.
    """
    return from_settings.build(settings.PretrainingConfig, prefix).resolved(channels)


def pretrain_public(
    of_task: 'tasks.Task',
    unfrozen_model: 'models.EmbeddingModel',
    directory: str | os.PathLike[str],
    prefix: str = 'pretrain_',
) -> None:
    """Pretrains on the public part of a task, unless the directory holds the result.

    Args:
        of_task: the `tasks.Task`, with a public part.
        unfrozen_model: without --freeze, which is for what comes after.
        directory: for the result, see `pretrain.pretrain_once`.
        prefix: as in `define`.
    """
    from dp_fedemb.pretraining import pretrain

    pretrain.pretrain_once(
        directory,
        unfrozen_model,
        of_task.public,
        config(of_task.public.example_spec.shape[-1], prefix),
    )

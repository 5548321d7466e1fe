"""Flags of where a run begins: a model that is there, or the public part of its task."""

import pathlib
import typing

from absl import flags

from flags import from_settings
from flags import groups
from flags import pretraining_flags

from dp_fedemb.pretraining import settings

if typing.TYPE_CHECKING:
    from dp_fedemb import models
    from dp_fedemb.runs import starts
    import tasks

FLAGS = flags.FLAGS
_PREFIX = 'pretrain_'


def define() -> None:
    """Defines the flags of `start`."""
    flags.DEFINE_string(
        'pretrained',
        None,
        'Start: directory of a SavedModel or of a run; a Keras weight file, *.h5, of the'
        ' ImageNet network that the backbone follows; or "public" to pretrain on the public'
        ' part of the task first, as the --pretrain_... flags say.',
    )
    flags.DEFINE_bool(
        'pretrained_partial',
        False,
        'Load what fits of --pretrained, and leave the rest fresh, instead of refusing.',
    )
    flags.DEFINE_bool(
        'pretrained_is_public',
        False,
        'Your word that --pretrained has seen no private user, where no statement beside it'
        ' says what it has seen.',
    )
    pretraining_flags.define(_PREFIX)


def names() -> list[str]:
    """Returns the flags that `define` has defined."""
    of_pretraining = from_settings.names(settings.PretrainingConfig)
    return [
        'pretrained',
        'pretrained_partial',
        'pretrained_is_public',
        *(_PREFIX + name for name in of_pretraining),
    ]


def check() -> None:
    """Refuses what is no start, and says what is not used, before the data are looked for."""
    from_settings.need('pretrained_partial', 'pretrained')
    from_settings.need('pretrained_is_public', 'pretrained')
    if FLAGS.pretrained != 'public':
        pretraining_flags.say_unused(_PREFIX)
    groups.check_start()


def check_part(task: 'tasks.Task') -> None:
    """Refuses a start from the public part of a task that has none.

    Raises:
        ValueError: if the task has no public part.
    """
    if FLAGS.pretrained == 'public' and task.public is None:
        raise ValueError(
            f"pretrained='public': task {task.name} has no public part here; it has"
            f' {", ".join(task.stores)}. See tasks/{task.name}.py for an option that'
            ' makes one, or give a SavedModel'
        )


def start(
    task: 'tasks.Task', model: 'models.EmbeddingModel', of_public: pathlib.Path
) -> 'starts.Start | None':
    """Returns where --pretrained says that the backbone begins, None for fresh weights.

    Args:
        task: of the run.
        model: whose backbone begins there.
        of_public: directory for the model that is pretrained on the public part, when the
            start is loaded.
    """
    if FLAGS.pretrained is None:
        return None
    from dp_fedemb.models import pretrained
    from dp_fedemb.runs import starts

    if FLAGS.pretrained != 'public':
        return starts.Start.from_saved_model(
            FLAGS.pretrained, model, FLAGS.pretrained_partial, FLAGS.pretrained_is_public
        )

    def load():
        unfrozen = groups.model(task, freeze='')
        try:
            pretraining_flags.pretrain_public(task, unfrozen, of_public)
            public = starts.Start.from_saved_model(of_public, model, FLAGS.pretrained_partial)
            return public.load()
        except ValueError as error:
            if not of_public.exists():
                raise
            raise ValueError(
                f'{error}; or delete {of_public}, and the same command makes it again'
            ) from None

    text = f'pretrained on the public part of task {FLAGS.task}'
    return starts.Start(load, pretrained.Origin(text, voids_guarantee=False))

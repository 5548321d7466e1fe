"""Flags shared by the binaries: a group defines them and builds what they describe.

Modules that need TensorFlow are imported when a group is built, so that `--help` and
wrong flags answer at once.
"""

from collections.abc import Iterable, Iterator
import dataclasses
import pathlib
import typing
from typing import Any

from absl import flags

from flags import from_settings
from flags import model_flags

from dp_fedemb import configured_directory
from dp_fedemb import pathnames
from dp_fedemb.runs import settings
import tasks
from tasks import image_folder

if typing.TYPE_CHECKING:
    from dp_fedemb import models

FLAGS = flags.FLAGS
# Heads whose loss is 0 for a single image.
_OF_PAIRS = ('supcon', 'prototype')


def define_task() -> None:
    """Defines the flags of `task`."""
    flags.DEFINE_string('task', 'synthetic', 'Task, see tasks/.')
    from_settings.define(tasks.TaskConfig)
    flags.DEFINE_multi_string(
        'task_option', [], 'Option of the task, as name=value; may be given several times.'
    )


def task_flags() -> list[str]:
    """Returns the flags that `define_task` has defined."""
    return ['task', 'task_option', *from_settings.names(tasks.TaskConfig)]


def task() -> tasks.Task:
    """Builds the task that the flags describe."""
    check_directory('data_dir')
    return tasks.build_task(FLAGS.task, _task_config())


def check_task() -> None:
    """Refuses what is wrong with the flags of `task`, before any data are looked for."""
    check_directory('data_dir')
    tasks.check_task(FLAGS.task, _task_config())


def check_apart(**outputs: str | None) -> None:
    """Refuses outputs with pictures in a folder of pictures that the task reads."""
    if FLAGS.task == image_folder.NAME and FLAGS.data_dir is not None:
        given = {name: path for name, path in outputs.items() if path is not None}
        pathnames.check_apart(FLAGS.data_dir, **given)


def check_cache(output_dir: str) -> None:
    """Refuses a cache in a directory that must be empty where the cache is made first."""
    cache, output = (pathlib.Path(path).resolve() for path in (FLAGS.cache_dir, output_dir))
    if cache.is_relative_to(output) and not (output / configured_directory.CONFIG).exists():
        raise ValueError(
            f'cache_dir={FLAGS.cache_dir!r}: lies in output_dir={output_dir!r}, which shall'
            ' hold one run and nothing else; choose a place beside it, for other runs too'
        )


def _task_config() -> tasks.TaskConfig:
    options = {}
    for text in FLAGS.task_option:
        name, equals, value = text.partition('=')
        if not equals:
            raise ValueError(f'task_option={text!r}: expected name=value')
        options[name] = value
    return from_settings.build(tasks.TaskConfig, options=options)


def define_model() -> None:
    """Defines the flags of `model`."""
    from_settings.define(settings.ModelSettings)


def model(of_task: tasks.Task, **instead: str) -> 'models.EmbeddingModel':
    """Builds the model that the flags describe for a task.

    Args:
        of_task: gives the examples, and what no flag says.
        **instead: settings in place of their flags.
    """
    chosen = from_settings.build(settings.ModelSettings, **instead)
    return chosen.build(of_task.train, of_task.default_backbone, of_task.default_embedding_dim)


def check_directory(name: str) -> None:
    """Refuses a flag that names no directory, before TensorFlow is loaded to read it."""
    value = FLAGS[name].value
    if value is not None and not pathlib.Path(value).is_dir():
        raise FileNotFoundError(f'{name}={value!r}: no such directory')


def check_there(*names: str) -> None:
    """Refuses flags that name no file or directory, before TensorFlow is loaded."""
    for name, path in _named(names):
        if not pathlib.Path(path).exists():
            raise FileNotFoundError(f'{name}={path!r}: no such file or directory')


def check_files(*names: str) -> None:
    """Refuses flags that name no file, or what would not end, as a device or a pipe."""
    check_there(*names)
    for name, path in _named(names):
        if not pathlib.Path(path).is_file():
            raise ValueError(f'{name}={path!r}: is no file; name one')


def _named(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields each path that a flag gives, with the flag's name."""
    for name in names:
        value = FLAGS[name].value
        for path in value if isinstance(value, list) else [value]:
            if path is not None:
                yield name, path


def check_start(public: bool = True) -> None:
    """Refuses a --pretrained that is nothing to begin from, before the data are looked for.

    Args:
        public: whether it may be the task's public part.
    """
    if FLAGS.pretrained is not None and not (public and FLAGS.pretrained == 'public'):
        check_there('pretrained')
        path = pathlib.Path(FLAGS.pretrained)
        if not path.is_dir() and path.suffix not in ('.h5', '.hdf5'):
            raise ValueError(
                f'pretrained={FLAGS.pretrained!r}: expected the directory of a run or of a'
                ' SavedModel, or a Keras weight file, *.h5'
            )
        if path.is_dir():
            model_flags.check_there(FLAGS.pretrained, name='pretrained')


def is_auto() -> bool:
    """Whether the data choose what no flag says."""
    if 'auto' not in FLAGS:
        return False
    return FLAGS.task == 'image_folder' if FLAGS.auto is None else FLAGS.auto


def check_model() -> None:
    """Refuses names that no model has, before the data are looked for."""
    chosen = from_settings.build(settings.ModelSettings)
    if chosen.head in _OF_PAIRS and 'batch_size' in FLAGS and FLAGS.batch_size < 2:
        raise ValueError(
            f'batch_size={FLAGS.batch_size} with head={chosen.head}: it compares the images of'
            ' a batch, of which there must be two; choose a larger batch, or another head'
        )
    chosen.check_names()
    if chosen.freeze and (chosen.backbone is not None or not is_auto()):
        backbone = chosen.backbone or tasks.default_backbone(FLAGS.task, _task_config())
        dataclasses.replace(chosen, backbone=backbone).check_layers()


def define_training() -> None:
    """Defines the flags of `training`."""
    from_settings.define(settings.Settings)


def training(rounds: int) -> settings.Settings:
    """Builds the settings that the flags describe."""
    schedule = from_settings.build(settings.TrainingSchedule, rounds=rounds)
    return from_settings.build(settings.Settings, schedule=schedule)


def record() -> dict[str, Any]:
    """Returns the flags of task and model that decide what is computed, by flag."""
    values = {}
    for cls in (tasks.TaskConfig, settings.ModelSettings):
        values.update(from_settings.record(cls))
    return values

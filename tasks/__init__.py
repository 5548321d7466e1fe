"""One file per task; `TASKS` maps names to modules with `build(config) -> Task`."""

import importlib

from dp_fedemb import validate
from tasks.shared.base import parse_options
from tasks.shared.base import Task
from tasks.shared.base import TaskConfig

# Modules are imported when asked for: some need TFF or TFDS, which take seconds.
TASKS = {
    'digiface': 'tasks.digiface',
    'emnist': 'tasks.emnist',
    'image_folder': 'tasks.image_folder',
    'inaturalist': 'tasks.inaturalist',
    'landmarks': 'tasks.landmarks',
    'lfw': 'tasks.lfw',
    'omniglot': 'tasks.omniglot',
    'stores': 'tasks.stores',
    'synthetic': 'tasks.synthetic',
    'tfds': 'tasks.tfds',
}


def check_task(name: str, config: TaskConfig) -> None:
    """Refuses what is wrong before any data are looked for.

    Raises:
        ValueError: for an unknown task or option, or a value of the wrong type.
    """
    validate.one_of('task', name, TASKS)
    parse_options(importlib.import_module(TASKS[name]).Options, config, name)


def default_backbone(name: str, config: TaskConfig) -> str:
    """Returns what a task is trained with where no flag says it."""
    kind = importlib.import_module(TASKS[name]).Options
    options = parse_options(kind, config, name)
    return getattr(options, 'default_backbone', Task.default_backbone)


def build_task(name: str, config: TaskConfig) -> Task:
    """Finds or converts the data of a task.

    Args:
        name: a key of `TASKS`.
        config: where the data are.

    Raises:
        ValueError: for an unknown task or option, or data that are not as published.
        FileNotFoundError: for missing files; the message says where to get them.
    """
    validate.one_of('task', name, TASKS)
    return importlib.import_module(TASKS[name]).build(config)

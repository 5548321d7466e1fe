"""The task that a run was trained on, for the programs that try its model afterwards."""

from collections.abc import Iterable, Mapping
import dataclasses
import pathlib
import sys

from absl import flags

from dp_fedemb import configured_directory
from dp_fedemb import json_files
import tasks

FLAGS = flags.FLAGS
# The directory of a model in that of its run.
_MODEL = 'saved_model'
_NUMBERS = ('data_seed', 'max_examples_per_user')


@dataclasses.dataclass(frozen=True)
class _Known:
    """What a config.json says of a task."""

    task: str
    options: Mapping[str, str]
    numbers: Mapping[str, int | None]


def follow(models: Iterable[str]) -> None:
    """Takes from the first run among models what no flag says of its task, and says so.

    The model would be tried on other people than its task had otherwise, some of whom it may
    have been trained on. Where the flags, or further runs, differ from that, it is said, too.

    Args:
        models: directories of runs or of SavedModels; those without a config.json that names a
            task say nothing.
    """
    runs = [(path, known) for path in models if (known := _read(path)) is not None]
    for path, known in runs[:1]:
        taken = _take(known)
        if taken:
            _say(f'as {path} was trained: {" ".join(taken)}')
    asked = _options(FLAGS.task_option)
    for path, known in runs:
        if known.task != FLAGS.task:
            _say(f'{path} was trained on task {known.task}, and this is {FLAGS.task}')
            continue
        for name in sorted({*known.options, *asked}):
            _compare(path, f'task_option {name}', known.options.get(name), asked.get(name))
        for name, value in known.numbers.items():
            _compare(path, name, value, FLAGS[name].value)


def _read(model: str) -> _Known | None:
    directory = pathlib.Path(model)
    if directory.name == _MODEL:
        directory = directory.parent
    try:
        # A damaged one is named where its figures are needed.
        config = json_files.read(directory / configured_directory.CONFIG, 'restore it')
        numbers = {name: config[name] for name in _NUMBERS}
        whole = all(value is None or type(value) is int for value in numbers.values())
        if config['task'] in tasks.TASKS and whole:
            return _Known(config['task'], _options(config['task_option']), numbers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return None


def _options(texts: Iterable[str]) -> dict[str, str]:
    """Options of a task by name, of which the last one counts."""
    return {name: value for name, _, value in (text.partition('=') for text in texts)}


def _take(known: _Known) -> list[str]:
    """Sets the flags of the task that were not given; returns them as somebody would."""
    taken = []
    if not FLAGS['task'].present and FLAGS.task != known.task:
        FLAGS.task = known.task
        taken.append(f'--task={known.task}')
    if FLAGS.task != known.task:
        return taken
    given = _options(FLAGS.task_option)
    missing = [f'{name}={value}' for name, value in known.options.items() if name not in given]
    FLAGS.task_option = [*FLAGS.task_option, *missing]
    taken += [f'--task_option={text}' for text in missing]
    for name, value in known.numbers.items():
        if not FLAGS[name].present and FLAGS[name].value != value and value is not None:
            FLAGS[name].value = value
            taken.append(f'--{name}={value}')
    return taken


def _compare(path: str, name: str, trained: object, asked: object) -> None:
    if trained != asked:
        known = 'without it' if trained is None else f'with {trained}'
        _say(f'{name}: {path} was trained {known}, and this is {asked or "without"}')


def _say(text: str) -> None:
    print(f'note: {text}', file=sys.stderr)

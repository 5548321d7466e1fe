"""A released model, the names of its ops looked at before it runs, and what it is tried on."""

import pathlib
import sys
import typing

from absl import flags

from dp_fedemb import validate
from tasks.shared import base

if typing.TYPE_CHECKING:
    from dp_fedemb import data
    from dp_fedemb.evaluation import inference
    import tasks

FLAGS = flags.FLAGS


def define(required: bool = True) -> None:
    """Defines --model and --accept_ops."""
    flags.DEFINE_string(
        'model', None, 'Directory of a run or of a SavedModel.', required=required
    )
    flags.DEFINE_list(
        'accept_ops',
        [],
        'Ops that you accept in the model beyond those that only compute. A SavedModel is a'
        ' program that runs as you: one with ops that could read or write files, use the'
        ' network or run Python is refused by their names.',
    )


def check_there(*models: str | None, name: str = 'model') -> None:
    """Refuses directories without a SavedModel, before TensorFlow and any data are there.

    Args:
        *models: directories of runs or of SavedModels; None is no one's business here.
        name: what messages call them.
    """
    for model in filter(None, models):
        path = pathlib.Path(model)
        if not path.is_dir():
            raise FileNotFoundError(f'{name}={model!r}: no such directory')
        if not any((part / 'saved_model.pb').exists() for part in (path, path / 'saved_model')):
            raise FileNotFoundError(
                f'{name}={model!r}: no SavedModel here (neither saved_model.pb nor saved_model/'
                ' with it); name the directory of a run that has saved one, or of a SavedModel'
            )


def define_part() -> None:
    """Defines the flags of `part` and `load_for`, and --eval_batch_size."""
    flags.DEFINE_enum('part', 'test', base.PARTS, 'Of the task.')
    flags.DEFINE_integer('eval_batch_size', 512, 'Images in the model at once.', 1, 10**6)
    flags.DEFINE_bool(
        'other_preprocessing',
        False,
        'Take a task whose images were prepared in another way than those of the training.',
    )


def define_fars(default: list[str], help_text: str) -> None:
    """Defines the flag of `fars`."""
    flags.DEFINE_list('fars', default, help_text)


def load(path: str) -> 'inference.SavedEmbeddingModel':
    """Returns the model at a path; says on standard error what of it nobody here vouches for.

    Raises:
        ValueError: for ops that could do more than compute, and were not accepted.
    """
    from dp_fedemb import evaluation
    from dp_fedemb.models import graph_ops
    from dp_fedemb.models import saved_model

    model = evaluation.load_model(path, accept_ops=FLAGS.accept_ops)
    published = saved_model.is_published(model.path)
    accepted = graph_ops.unsafe(model.path) if FLAGS.accept_ops else []
    if accepted:
        does = f'{", ".join(accepted)}, accepted by you, may do more than compute'
    else:
        does = 'its ops were looked at before and only compute'
    program = f'a SavedModel is a program that runs as you ({does})'
    name = f'model={str(model.path)!r} (fingerprint {model.fingerprint[:12]})'
    if published is False:
        print(
            f'warning: {name} is NOT the one that the run in its directory published: changed'
            ' since, or being written at this moment; what the run states of its privacy and'
            f' recall is of another model, and {program}',
            file=sys.stderr,
        )
    elif accepted or published is None:
        print(f'note: {name}: no run here notes that it made it; {program}', file=sys.stderr)
    return model


def part(task: 'tasks.Task') -> 'data.UserStore':
    """Returns the part of a task that --part names."""
    if FLAGS.part not in task.stores:
        raise ValueError(f'part={FLAGS.part!r}: task {task.name} has {", ".join(task.stores)}')
    return task.stores[FLAGS.part]


def check_for(model: 'inference.SavedEmbeddingModel', store: 'data.UserStore') -> None:
    """Refuses a store whose images are not what the model was trained on."""
    from dp_fedemb.models import saved_model

    model.check_examples(store.example_spec)
    if not FLAGS.other_preprocessing:
        saved_model.check_preprocessing(
            model.path,
            store.preprocessing,
            'choose the options of the task, or allow it with --other_preprocessing',
        )


def fars() -> tuple[float, ...]:
    """Returns the false accept rates of --fars, each once."""
    from dp_fedemb.evaluation import verification

    found = tuple(dict.fromkeys(_rate(text) for text in FLAGS.fars))
    verification.check_fars(found, 'fars')
    return found


def _rate(text: str) -> float:
    try:
        return validate.read_number(text)
    except ValueError:
        raise ValueError(f'fars={text!r}: expected numbers, as in 1e-3,1e-2') from None

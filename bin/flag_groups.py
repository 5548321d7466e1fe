"""Flags shared by the binaries: a group defines them and builds what they describe.

Modules that need TensorFlow are imported when a group is built, so that `--help` and
wrong flags answer at once.
"""

from absl import flags

FLAGS = flags.FLAGS


def define_task() -> None:
    """Defines the flags of `task`."""
    flags.DEFINE_string('task', 'synthetic', 'Task, see tasks/.')
    flags.DEFINE_string('data_dir', None, "Directory of the task's official files.")
    flags.DEFINE_string('cache_dir', 'data_cache', 'Where converted data are kept.')
    flags.DEFINE_integer('data_seed', 0, 'Of drawing, splitting, subsampling; not secret.')
    flags.DEFINE_integer(
        'max_examples_per_user', None, 'Training users with more images keep this many.'
    )
    flags.DEFINE_multi_string(
        'task_option', [], 'Option of the task, as name=value; may be given several times.'
    )


def task():
    """Builds the `tasks.Task` that the flags describe."""
    import tasks

    options = {}
    for text in FLAGS.task_option:
        name, equals, value = text.partition('=')
        if not equals:
            raise ValueError(f'task_option={text!r}: expected name=value')
        options[name] = value
    config = tasks.TaskConfig(
        data_dir=FLAGS.data_dir,
        cache_dir=FLAGS.cache_dir,
        seed=FLAGS.data_seed,
        max_examples_per_user=FLAGS.max_examples_per_user,
        options=options,
    )
    return tasks.build_task(FLAGS.task, config)


def define_model() -> None:
    """Defines the flags of `model`."""
    flags.DEFINE_string('backbone', None, "Backbone; the task's by default.")
    flags.DEFINE_integer('embedding_dim', None, "Size of the embedding; the task's by default.")
    flags.DEFINE_string('head', 'linear', 'Head of a virtual client.')
    flags.DEFINE_string(
        'freeze', '', 'Layers that are not trained: "conv", or patterns of layer names.'
    )
    flags.DEFINE_string('precision', 'float32', 'Of local steps: float32 or bfloat16.')


def model(of_task):
    """Builds the `EmbeddingModel` that the flags describe for a task."""
    from dp_fedemb import models

    return models.build_embedding_model(
        backbone=FLAGS.backbone or of_task.default_backbone,
        image_shape=of_task.train.image_shape,
        embedding_dim=FLAGS.embedding_dim or of_task.default_embedding_dim,
        head=FLAGS.head,
        freeze=FLAGS.freeze,
        precision=FLAGS.precision,
    )

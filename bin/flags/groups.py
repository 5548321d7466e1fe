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
    flags.DEFINE_string(
        'head', 'linear', 'Head of a virtual client: linear, normalized, cosface or arcface.'
    )
    flags.DEFINE_float('head_scale', None, "Factor of the cosines; the head's by default.")
    flags.DEFINE_float(
        'head_margin', None, "Margin of cosface and arcface; the head's by default."
    )
    flags.DEFINE_string(
        'freeze', '', 'Layers that are not trained: "conv", or patterns of layer names.'
    )
    flags.DEFINE_string('precision', 'float32', 'Of local steps: float32 or bfloat16.')


def model(of_task, freeze: str | None = None):
    """Builds the `EmbeddingModel` that the flags describe for a task.

    Args:
        of_task: the `tasks.Task`.
        freeze: instead of --freeze.
    """
    from dp_fedemb import models

    return models.build_embedding_model(
        backbone=FLAGS.backbone or of_task.default_backbone,
        image_shape=of_task.train.image_shape,
        embedding_dim=FLAGS.embedding_dim or of_task.default_embedding_dim,
        head=FLAGS.head,
        freeze=FLAGS.freeze if freeze is None else freeze,
        precision=FLAGS.precision,
        head_scale=FLAGS.head_scale,
        head_margin=FLAGS.head_margin,
    )


def define_training() -> None:
    """Defines the flags of `training`."""
    flags.DEFINE_enum(
        'algorithm',
        'fedemb',
        ['fedemb', 'fedavg'],
        'fedemb: local heads, backbone aggregated. fedavg: baseline with one head over all'
        ' identities, aggregated and noised with the backbone.',
    )
    flags.DEFINE_integer(
        'label_buckets',
        None,
        "Public number of labels of fedavg's head; required for an epsilon. Identities are"
        ' divided among them by a hash of their names.',
    )
    flags.DEFINE_float('client_lr', 0.1, "The backbone's learning rate in local steps.")
    flags.DEFINE_string(
        'client_lr_schedule', 'constant', 'Over rounds: constant, linear, cosine or step.'
    )
    flags.DEFINE_string(
        'local_lr_schedule',
        'constant',
        "Over a virtual client's local steps, times that over rounds; the same names.",
    )
    flags.DEFINE_float('client_momentum', 0.0, 'Of local steps.')
    flags.DEFINE_float('head_lr_scale', 1.0, "The head's learning rate over the backbone's.")
    flags.DEFINE_integer('head_only_steps', 0, 'First local steps that train the head alone.')
    flags.DEFINE_integer('local_epochs', 1, "Passes over a virtual client's examples.")
    flags.DEFINE_integer('batch_size', 32, 'Examples of a local step.')
    flags.DEFINE_float('server_lr', 1.0, "Of the server's SGD.")
    flags.DEFINE_float('server_momentum', 0.0, "Of the server's SGD.")
    flags.DEFINE_integer(
        'rounds_per_eval', 10, 'Rounds between evaluations; 0 for before and after only.'
    )
    flags.DEFINE_integer('rounds_per_checkpoint', 10, 'Rounds between checkpoints.')
    flags.DEFINE_bool(
        'raw_metrics',
        False,
        'Write training loss and update norms WITHOUT noise, outside the guarantee.',
    )
    flags.DEFINE_enum(
        'engine',
        None,
        ['tff', 'in_process'],
        "TFF's runtime, or plain TensorFlow in this process, which can use a GPU. By default"
        ' tff, or in_process where a GPU is visible.',
    )
    flags.DEFINE_list(
        'workers', [], 'host:port of each bin/worker.py to train on, instead of this machine.'
    )
    flags.DEFINE_float('worker_timeout_s', 60.0, 'How long a worker may be silent.')
    flags.DEFINE_integer(
        'client_parallelism', None, 'Virtual clients trained at once; the cores by default.'
    )
    flags.DEFINE_integer('intra_op_threads', 1, 'Threads inside one operation.')


def training(rounds: int):
    """Builds the `settings.Settings` that the flags describe."""
    from dp_fedemb.learning import client_config
    from dp_fedemb.runs import settings

    return settings.Settings(
        client=client_config.ClientConfig(
            learning_rate=FLAGS.client_lr,
            head_lr_scale=FLAGS.head_lr_scale,
            head_only_steps=FLAGS.head_only_steps,
            local_epochs=FLAGS.local_epochs,
            batch_size=FLAGS.batch_size,
            momentum=FLAGS.client_momentum,
            local_lr_schedule=FLAGS.local_lr_schedule,
        ),
        schedule=settings.TrainingSchedule(
            rounds, FLAGS.rounds_per_eval, FLAGS.rounds_per_checkpoint
        ),
        client_lr_schedule=FLAGS.client_lr_schedule,
        server_lr=FLAGS.server_lr,
        server_momentum=FLAGS.server_momentum,
        algorithm=FLAGS.algorithm,
        label_buckets=FLAGS.label_buckets,
        engine=FLAGS.engine,
        workers=tuple(FLAGS.workers),
        worker_timeout_s=FLAGS.worker_timeout_s,
        client_parallelism=FLAGS.client_parallelism,
        intra_op_threads=FLAGS.intra_op_threads,
        raw_metrics=FLAGS.raw_metrics,
    )

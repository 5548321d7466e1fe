"""Any prepared TFDS data set, its users and identities named by features.

    --task=tfds --data_dir=~/tensorflow_datasets --task_option=dataset=mnist \
        --task_option=user=label --task_option=identity=label

For users that only a function of the example can name, write a file like this one
with a function in place of the feature; docs/data.md has one.
"""

import collections
import dataclasses
import functools

from dp_fedemb import progress
from dp_fedemb.data import cache
from dp_fedemb.data import preprocessing as preprocessing_lib
from dp_fedemb.data import tfds_users
from tasks.shared import base
from tasks.shared import converted

NAME = 'tfds'
_WHERE = 'a TFDS data_dir in which the data set is prepared'


@dataclasses.dataclass(frozen=True)
class Options(base.SplitOptions):
    """Options of the task.

    Attributes:
        dataset: name, as for `tfds.load`: 'name', 'name/config' or 'name:1.2.3'.
        split: TFDS split with all the users, for instance 'train+test'.
        user: feature that names the user; 'a/b' for b inside of a.
        identity: feature that names what the image shows; by default the user.
        image: feature with the image.
        image_size: side in pixels.
        channels: 1 (grey) or 3 (RGB).
        fit: how other proportions become a square: crop, pad or stretch.
        invert: whether dark becomes bright, for ink on paper.
        default_backbone: what training uses unless --backbone says otherwise.
    """

    dataset: str = ''
    split: str = 'train'
    user: str = ''
    identity: str = ''
    image: str = 'image'
    image_size: int = 64
    channels: int = 3
    fit: str = 'crop'
    invert: bool = False
    default_backbone: str = 'resnet18'


def build(config: base.TaskConfig) -> base.Task:
    """Converts a TFDS data set.

    Raises:
        FileNotFoundError: if it is not prepared in `config.data_dir`.
        ValueError: for a missing option, an unknown feature or split, or too few users.
    """
    options = base.parse_options(Options, config, NAME)
    for name in ('dataset', 'user'):
        if not getattr(options, name):
            raise ValueError(f'option {name}: task {NAME} needs it, for instance {name}=label')
    data_dir = base.require_data_dir(config, NAME, _WHERE)
    return build_by(
        config,
        NAME,
        load_prepared(options.dataset, data_dir),
        options,
        user=options.user,
        identity=options.identity or options.user,
    )


def load_prepared(dataset: str, data_dir):
    """Returns the builder of a prepared data set; never downloads.

    Raises:
        FileNotFoundError: if the data set is not prepared in `data_dir`.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(dataset, data_dir=str(data_dir), try_gcs=False)
    except tfds.core.registered.DatasetNotFoundError:
        builder = None
    if builder is None or not builder.is_prepared():
        raise FileNotFoundError(
            f'{data_dir}: the data set {dataset} is not prepared here; run'
            f' tfds.load({dataset!r}, data_dir=...) once, or name its directory in --data_dir'
        )
    return builder


def build_by(
    config: base.TaskConfig,
    name: str,
    builder,
    options: Options,
    user: tfds_users.Key,
    identity: tfds_users.Key,
    **task,
) -> base.Task:
    """Converts a prepared data set with users and identities by feature or function.

    Args:
        config: of the task. Functions cannot be compared: name everything that they
            depend on in `config.options`, or use another cache_dir when they change.
        name: of the task.
        builder: a prepared `tfds.core.DatasetBuilder`.
        options: see `Options`; its `user` and `identity` are not looked at.
        user: feature, or function from an example to the user.
        identity: the same for what the image shows.
        **task: further attributes of the task.

    Raises:
        ValueError: for an unknown feature or split, or too few users.
    """
    features = builder.info.features
    user_of = tfds_users.key_function(user, features)
    identity_of = tfds_users.key_function(identity, features)
    tfds_users.key_function(options.image, features)
    read = functools.partial(tfds_users.read, builder, options.split, options.image)

    def found():
        rows = progress.each(read(), None, 'counting images', 'image')
        counts = collections.Counter((user_of(row), identity_of(row)) for row in rows)
        division = converted.divide(counts, options, config.seed)
        return converted.Input(
            tfds_users.examples(
                read(), user_of, identity_of, division.part, options.image, name=options.split
            ),
            sum(n for pair, n in counts.items() if division.part(*pair) is not None),
            facts=(
                base.Fact('users', len({user for user, _ in counts})),
                base.Fact('identities', len({identity for _, identity in counts})),
                base.Fact('images', sum(counts.values())),
            ),
            notes=division.notes(counts),
            max_broken=options.max_broken,
        )

    return converted.build(
        config,
        name,
        {
            'options': dataclasses.asdict(options),
            'dataset': builder.info.full_name,
            'keys': [key if isinstance(key, str) else 'function' for key in (user, identity)],
            'records': cache.listing_fingerprint(builder.data_path),
        },
        preprocessing_lib.Preprocessing(
            options.image_size, options.channels, options.fit, invert=options.invert
        ),
        found,
        **{
            'description': f'{builder.info.full_name}, split {options.split}',
            'default_backbone': options.default_backbone,
            **task,
        },
    )

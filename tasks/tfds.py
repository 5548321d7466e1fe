"""Any prepared TFDS data set, its users and identities named by features.

    --task=tfds --data_dir=~/tensorflow_datasets --task_option=dataset=mnist \
        --task_option=user=label --task_option=identity=label

For users that only a function of the example can name, write a file like this one
with a function in place of the feature; docs/data.md has one.
"""

import collections
import dataclasses
import functools

from dp_fedemb import host_error
from dp_fedemb import progress
from dp_fedemb.data import cache
from dp_fedemb.data.images import tfds_users
from tasks.shared import base
from tasks.shared import converted

NAME = 'tfds'
_WHERE = 'a TFDS data_dir in which the data set is prepared'


@dataclasses.dataclass(frozen=True)
class Options(base.CollectionOptions):
    """Options of the task.

    Attributes:
        dataset: name, as for `tfds.load`: 'name', 'name/config' or 'name:1.2.3'.
        split: TFDS split with all the users, for instance 'train+test'.
        user: feature that names the user; 'a/b' for b inside of a.
        identity: feature that names what the image shows; by default the user.
        image: feature with the image.
    """

    dataset: str = ''
    split: str = 'train'
    user: str = ''
    identity: str = ''
    image: str = 'image'


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
    # Its description can be damaged in any way.
    except Exception as error:
        if host_error.of_the_host(error):
            raise
        reason = ' '.join(str(error).split())[:300] or type(error).__name__
        raise ValueError(
            f'{data_dir}: the data set {dataset} cannot be read ({reason}); prepare it again'
        ) from None
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
    if options.identities == 'own' and identity != user:
        shared_name_of = identity_of
        identity_of = lambda row: f'{user_of(row)}/{shared_name_of(row)}'
    own_identities = options.identities == 'own' or identity == user
    tfds_users.check_feature(options.image, features)
    read = functools.partial(tfds_users.read, builder, options.split, options.image)

    def found():
        counts, nameless = _counted(read(), {'user': user_of, 'identity': identity_of})
        division = converted.divide(options, config.seed, own_identities)
        examples = tfds_users.examples(
            read(), user_of, identity_of, division.part, options.image, name=options.split
        )
        return converted.found(
            counts, division, examples, notes=nameless, max_broken=options.max_broken
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
        options.preprocessing,
        found,
        **{
            'description': f'{builder.info.full_name}, split {options.split}',
            'default_backbone': options.default_backbone,
            **task,
        },
    )


def _counted(rows, names) -> tuple[collections.Counter, tuple[str, ...]]:
    """Counts examples by user and identity; notes say which have no name for one."""
    counts, nameless = collections.Counter(), collections.Counter()
    for row in progress.each(rows, None, 'counting images', 'image'):
        found = []
        for what, name_of in names.items():
            try:
                found.append(name_of(row))
            except tfds_users.NoNameError as error:
                nameless[f'{what} is {error}'] += 1
                break
        else:
            counts[tuple(found)] += 1
    notes = tuple(
        f'{count:,} images are left out: their {reason}'
        for reason, count in sorted(nameless.items())
    )
    if not counts:
        reasons = '; '.join(notes) or 'there is none'
        raise ValueError(f'task {NAME}: no example names a user and an identity ({reasons})')
    return counts, notes

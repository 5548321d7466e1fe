"""DigiFace-1M: rendered faces, a user is a subject.

10,000 subjects with 72 images each or, as an option, 99,999 with 5 images each,
divided by hash into training, validation and test. The images are read from the
official archives or from the TFDS data set of `tasks/shared/digiface_tfds.py`.

Source: Bae et al., WACV 2023, arXiv 2210.02579.
"""

import collections
from collections.abc import Iterable, Mapping
import dataclasses
import functools
from typing import ClassVar

from dp_fedemb import validate
from dp_fedemb.data import cache
from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.data.images import tfds_users
from tasks.shared import base
from tasks.shared import converted
from tasks.shared import digiface_files
from tasks.shared import splits
from tasks.shared import tfds_archives

NAME = 'digiface'
TFDS_NAME = 'digiface1m'


@dataclasses.dataclass(frozen=True)
class Options(base.UserSplitOptions):
    """Options of the task.

    Attributes:
        subset: '72' (images of each of 10,000 subjects) or '5' (of 99,999).
        image_size: side in pixels; the originals have 112.
        validation_users: expected fraction of the subjects kept apart to choose settings with.
        public_users: expected fraction kept apart to pretrain on.
        partial: accept some of the archives, and other counts than the published ones.
    """

    default_backbone: ClassVar[str] = 'resnet50'

    subset: str = '72'
    image_size: int = 112
    validation_users: float = 0.1
    public_users: float = 0.0
    partial: bool = False


def build(config: base.TaskConfig) -> base.Task:
    """Converts DigiFace-1M.

    `config.data_dir` holds the official archives or the prepared TFDS data set.

    Raises:
        FileNotFoundError: for missing archives.
        ValueError: for damaged ones, or counts that are not as published.
    """
    options = base.parse_options(Options, config, NAME)
    validate.one_of('option subset', options.subset, digiface_files.ARCHIVES)
    data_dir = base.require_data_dir(config, NAME, digiface_files.where(options.subset))
    prepared = data_dir / TFDS_NAME / f'subjects{options.subset}'
    if prepared.is_dir():
        found = cache.listing_fingerprint(prepared)
        read = functools.partial(_read_tfds, config, options, prepared)
    else:
        paths = digiface_files.find(data_dir, options.subset, options.partial, NAME)
        found = {path.name: cache.file_fingerprint(path, config.cache_dir) for path in paths}
        read = functools.partial(_read_archives, config, options, paths)
    return converted.build(
        config,
        NAME,
        {'options': dataclasses.asdict(options), 'archives': found},
        preprocessing_lib.Preprocessing(options.image_size),
        read,
        partial=options.partial,
        description=f'DigiFace-1M, {options.subset} images of each subject, user = subject',
        default_backbone=options.default_backbone,
    )


def _read_archives(config, options, paths):
    archives = [digiface_files.open_archive(path, options.subset) for path in paths]
    rows = [
        (subject, f'{subject}/{image}', functools.partial(archive.read, member))
        for archive in archives
        for subject, image, member in digiface_files.members(archive)
    ]
    counts = collections.Counter(subject for subject, _, _ in rows)
    division = _divide(options, config.seed)

    def examples():
        for subject, name, image in rows:
            part = division.part(subject, subject)
            yield conversion.Example(part, subject, subject, image, name)

    return _input(examples(), counts, division, options)


def _read_tfds(config, options, prepared):
    import tensorflow_datasets as tfds

    versions = [path for path in prepared.iterdir() if path.is_dir()]
    try:
        builder = tfds.builder_from_directory(str(max(versions)))
    # Its description can be damaged in any way.
    except Exception as error:
        raise tfds_archives.damaged(
            prepared, error, digiface_files.where(options.subset)
        ) from None
    counts = collections.Counter(
        str(row['subject']) for row in tfds_users.read(builder, 'train')
    )
    division = _divide(options, config.seed)
    examples = tfds_users.examples(
        tfds_users.read(builder, 'train'),
        user='subject',
        identity='subject',
        part=division.part,
        name=lambda row: f'{row["subject"]}/{row["number"]}',
    )
    return _input(examples, counts, division, options)


def _divide(options: Options, seed: int) -> splits.Division:
    fractions = {**options.user_fractions, 'public': options.public_users}
    return splits.Division(splits.by_hash('user', fractions, seed))


def _input(
    examples: Iterable[conversion.Example],
    counts: Mapping[str, int],
    division: splits.Division,
    options: Options,
) -> converted.Input:
    subjects, images = digiface_files.PUBLISHED[options.subset]
    total = sum(counts.values())
    return converted.Input(
        examples,
        total,
        facts=(
            base.Fact('subjects', len(counts), subjects),
            base.Fact('images', total, images),
        ),
        max_broken=options.max_broken,
        train_users=division.roster(counts),
    )

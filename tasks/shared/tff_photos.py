"""Photo collections of TFF: one TFRecord file per user, or a list and the photos.

`tff.simulation.datasets.gldv2` and `.inaturalist` turn a list (CSV: user, image, class)
and the photos into one TFRecord file per user. Both forms are read here: the files
that TFF made, with TFF's own reader, or the list with the photos as they are
published, so that nobody needs TFF's hours of preparation and its second copy.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
import dataclasses
import os
import pathlib
from typing import Any, ClassVar, Optional, Protocol

from dp_fedemb import progress
from dp_fedemb.data import cache
from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.data.images import tfds_users
from tasks.shared import base
from tasks.shared import converted
from tasks.shared import photo_list
from tasks.shared import tfds_archives


@dataclasses.dataclass(frozen=True)
class Options(base.SplitOptions):
    """Options of both tasks.

    Attributes:
        image_size: side in pixels; photos are cropped to a square.
        partial: accept counts other than the published ones.
    """

    default_backbone: ClassVar[str] = 'mobilenet_v2'

    image_size: int = 128
    partial: bool = False


@dataclasses.dataclass(frozen=True)
class Files:
    """Where a collection's files may be, relative to the data directory.

    Attributes:
        records: directories of TFRecord files, any of them.
        lists: CSV files, any of them; 'archive.zip/member' for one inside a zip.
        columns: of the CSV file: user, image, class.
        folders: directories with the photos, at any depth, all that there are.
        archives: patterns of tar archives with the photos.
        where: what to get and where.
    """

    records: Sequence[str]
    lists: Sequence[str]
    columns: tuple[str, str, str]
    folders: Sequence[str]
    archives: Sequence[str]
    where: str


class Source(Protocol):
    """Photos of users, wherever they are."""

    def fingerprint(self) -> Any:
        """Changes when the photos do (JSON-able)."""

    def counts(self) -> collections.Counter:
        """Number of photos of each (user, class)."""

    def examples(
        self, part: Callable[[str, str], Optional[str]]
    ) -> Iterator[conversion.Example]:
        """The photos that have a part."""


def build(
    config: base.TaskConfig,
    name: str,
    options: Options,
    files: Files,
    published: tuple[int, int, int],
    words: tuple[str, str],
    **task: Any,
) -> base.Task:
    """Converts a collection.

    Args:
        config: of the task.
        name: of the task.
        options: of the task.
        files: where its files may be.
        published: numbers of users, classes and images.
        words: what users and classes are called, in the plural.
        **task: further attributes of the task.

    Raises:
        FileNotFoundError: for missing files.
        ValueError: for damaged ones, or counts that are not as published.
    """
    data_dir = base.require_data_dir(config, name, files.where)
    source = find(data_dir, name, files, config.cache_dir)

    def read():
        counts = source.counts()
        division = converted.divide(options, config.seed, own_identities=False)
        return converted.found(
            counts,
            division,
            source.examples(division.part),
            words,
            published,
            max_broken=options.max_broken,
        )

    return converted.build(
        config,
        name,
        {'options': dataclasses.asdict(options), 'photos': source.fingerprint()},
        preprocessing_lib.Preprocessing(options.image_size),
        read,
        partial=options.partial,
        **task,
    )


def find(data_dir: pathlib.Path, task: str, files: Files, cache_dir: str) -> Source:
    """Returns the photos found in a directory.

    Raises:
        FileNotFoundError: if there are neither TFF's files nor list and photos.
        ValueError: if the list lacks a column.
    """
    for name in files.records:
        if (data_dir / name).is_dir() and any((data_dir / name).iterdir()):
            return _Records(data_dir / name, files.where)
    listed = [name for name in files.lists if photo_list.file_of(data_dir / name).is_file()]
    folders = [data_dir / name for name in files.folders if (data_dir / name).is_dir()]
    archives = sorted(path for glob in files.archives for path in data_dir.glob(glob))
    if not listed or not (folders or archives):
        lacking = [] if listed else [f'the list {files.lists[0]}']
        if not (folders or archives):
            lacking.append(f'photos in {" or ".join([*files.archives, *files.folders])}')
        raise FileNotFoundError(
            f'{data_dir}: task {task} finds neither {files.records[0]}/ nor'
            f' {" and ".join(lacking)}; it needs {files.where}'
        )
    path = data_dir / listed[0]
    return photo_list.ListedPhotos(
        data_dir,
        cache.file_fingerprint(photo_list.file_of(path), cache_dir),
        photo_list.read(path, files.columns, files.where),
        folders,
        archives,
        files.where,
    )


class _Records:
    """What TFF made: per user a TFRecord file of JPEG photos and classes."""

    def __init__(self, directory: pathlib.Path, where: str):
        self._directory = directory
        self._where = where

    def fingerprint(self):
        return cache.listing_fingerprint(self._directory)

    def counts(self):
        rows = progress.each(self._rows(), None, 'counting images', 'image')
        return collections.Counter((user, label) for user, label, _, _ in rows)

    def examples(self, part):
        for user, label, photo, name in self._rows():
            chosen = part(user, label)
            if chosen is not None:
                yield conversion.Example(chosen, user, label, photo, name)

    def _rows(self):
        import tensorflow as tf
        import tensorflow_federated as tff
        from tensorflow_federated.python.simulation.datasets import vision_datasets_utils

        # TFF's own parser decodes every photo at its full size. This one keeps them
        # encoded, for our threads to decode at a fraction of it.
        client_data = tff.simulation.datasets.FilePerUserClientData.create_from_dir(
            os.fspath(self._directory), tf.data.TFRecordDataset
        )
        for user in client_data.client_ids:
            try:
                tfds_users.check_records(self._directory / user)
                dataset = client_data.create_tf_dataset_for_client(user)
                for row, record in enumerate(dataset.as_numpy_iterator()):
                    feature = tf.train.Example.FromString(record).features.feature
                    (photo,) = feature[vision_datasets_utils.KEY_IMAGE_BYTES].bytes_list.value
                    (label,) = feature[vision_datasets_utils.KEY_CLASS].int64_list.value
                    yield user, str(label), photo, f'{user} {row}'
            # A cut file, no TFRecord file, or records of something else.
            except Exception as error:
                raise tfds_archives.damaged(
                    self._directory / user, error, self._where
                ) from None

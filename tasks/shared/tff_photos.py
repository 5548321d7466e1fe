"""Photo collections of TFF: one TFRecord file per user, or a list and the photos.

`tff.simulation.datasets.gldv2` and `.inaturalist` turn a list (CSV: user, image, class)
and the photos into one TFRecord file per user. Both forms are read here: the files
that TFF made, with TFF's own reader, or the list with the photos as they are
published, so that nobody needs TFF's hours of preparation and its second copy.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
import contextlib
import csv
import dataclasses
import functools
import itertools
import os
import pathlib
import tarfile
from typing import Any, Optional, Protocol
import zipfile

from dp_fedemb import progress
from dp_fedemb.data import cache
from dp_fedemb.data import lists
from dp_fedemb.data import names as names_lib
from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import listing as listing_lib
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from tasks.shared import base
from tasks.shared import converted
from tasks.shared import tfds_archives


@dataclasses.dataclass(frozen=True)
class Options(base.SplitOptions):
    """Options of both tasks.

    Attributes:
        image_size: side in pixels; photos are cropped to a square.
        partial: accept counts other than the published ones.
    """

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
    listed = [name for name in files.lists if _list_path(data_dir / name).is_file()]
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
    return _Listed(
        data_dir,
        cache.file_fingerprint(_list_path(path), cache_dir),
        _read_list(path, files),
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


class _Listed:
    """A list of users' photos, and the photos in folders or tar archives."""

    def __init__(self, data_dir, checksum, rows, folders, archives, where):
        self._data_dir = data_dir
        self._checksum = checksum
        self._rows = rows  # image -> list of (user, class)
        self._folders = folders
        self._archives = archives
        self._where = where

    def fingerprint(self):
        files = [*self._archives, *self._photos_in_folders.values()]
        return [self._checksum, cache.listing_fingerprint(self._data_dir, files)]

    def counts(self):
        return collections.Counter(itertools.chain.from_iterable(self._rows.values()))

    def examples(self, part):
        wanted = {}
        for image, owners in self._rows.items():
            kept = [(part(*owner), *owner) for owner in owners]
            if kept := [names for names in kept if names[0] is not None]:
                wanted[image] = kept
        for image, path in self._photos_in_folders.items():
            for names in wanted.pop(image, ()):
                yield conversion.Example(*names, path, image)
        for archive in self._archives if wanted else ():
            yield from self._from_archive(archive, wanted)
        for image, owners in wanted.items():
            for names in owners:
                yield conversion.Example(*names, functools.partial(_missing, image), image)

    def _from_archive(self, path, wanted):
        try:
            # As a stream: an archive of 100 GB has no index to look things up in.
            with tarfile.open(path, 'r|*') as archive:
                for member in archive:
                    image = pathlib.PurePosixPath(member.name).stem
                    if member.isfile() and image in wanted:
                        tfds_archives.member(path, member.name, member.size, self._where)
                        photo = archive.extractfile(member).read()
                        for names in wanted.pop(image):
                            yield conversion.Example(*names, photo, image)
        except tfds_archives.READ_ERRORS as error:
            raise tfds_archives.damaged(path, error, self._where) from None

    @functools.cached_property
    def _photos_in_folders(self):
        found = {}
        for folder in self._folders:
            # All of them may be in archives.
            with contextlib.suppress(FileNotFoundError):
                for path in listing_lib.pictures(folder).paths:
                    if path.stem in self._rows:
                        if path.stem in found:
                            raise ValueError(
                                f'{path}: image {path.stem} is there twice, also as'
                                f' {found[path.stem]}; keep one'
                            )
                        found[path.stem] = path
        return dict(sorted(found.items()))


def _missing(image):
    raise FileNotFoundError(f'{image} is in the list, but not among the photos')


def _list_path(path):
    """The file that holds a list: the list itself, or the zip around it."""
    return path.parent if path.parent.suffix == '.zip' else path


def _read_list(path: pathlib.Path, files: Files) -> dict[str, list[tuple[str, str]]]:
    """Returns whose image each is and what it shows.

    An image that several users list is in the data of each: did one of them alone have
    it, another's leaving would give it to the next.
    """
    user_column, image_column, class_column = files.columns
    rows = collections.defaultdict(list)
    with _open_list(path, files.where) as lines, _whole(path, files.where):
        reader = csv.DictReader(lines)
        lacking = set(files.columns) - set(reader.fieldnames or ())
        if lacking:
            raise ValueError(
                f'{path}: lacks the column(s) {", ".join(sorted(lacking))}; get {files.where}'
            )
        twice = [name for name in files.columns if (reader.fieldnames or []).count(name) > 1]
        if twice:
            raise ValueError(f'{path}: has two columns {twice[0]}; get {files.where}')
        for row in reader:
            # The species lists give 'NA' to photos outside a split.
            if not all(row[column] for column in files.columns):
                raise ValueError(
                    f'{path}:{reader.line_num}: a row without all of'
                    f' {", ".join(files.columns)}; get {files.where}'
                )
            owner = names_lib.normal(row[user_column]), names_lib.normal(row[class_column])
            if owner[0] != 'NA' and owner not in rows[row[image_column]]:
                rows[row[image_column]].append(owner)
    return {image: owners for image, owners in rows.items() if owners}


@contextlib.contextmanager
def _whole(path, where):
    try:
        yield
    except csv.Error as error:
        raise tfds_archives.damaged(path, error, where) from None


def _open_list(path, where):
    archive = _list_path(path)
    if archive == path:
        return contextlib.nullcontext(lists.read_lines(path))
    try:
        with zipfile.ZipFile(archive) as file:
            (member,) = (n for n in file.namelist() if n.split('/')[-1] == path.name)
            tfds_archives.check_unpacked(archive, file.getinfo(member).file_size, where)
            return contextlib.nullcontext(lists.lines_of(file.read(member), path))
    except (*tfds_archives.READ_ERRORS, ValueError) as error:
        raise tfds_archives.damaged(archive, error, where) from None

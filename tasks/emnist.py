"""EMNIST by writer, from the database of `tff.simulation.datasets.emnist`.

A user is a writer: TFF's training half and test half of a writer are merged. Train:
digits and capitals (classes 0-35); test: small letters (36-61) of other writers.

Source: Caldas et al., LEAF, arXiv 1812.01097; Cohen et al., EMNIST, arXiv 1702.05373.
"""

import collections
from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import lzma
import os
import pathlib
import sqlite3
import string
from typing import ClassVar

import numpy as np

from dp_fedemb import files
from dp_fedemb import progress
from dp_fedemb.data import cache
from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from tasks.shared import base
from tasks.shared import converted
from tasks.shared import splits
from tasks.shared import tfds_archives

NAME = 'emnist'
CLASSES = string.digits + string.ascii_uppercase + string.ascii_lowercase
_UNSEEN = string.ascii_lowercase
_DATABASE = 'emnist_all.sqlite'
_WHERE = (
    f'{_DATABASE}.lzma (or {_DATABASE}) from'
    ' https://storage.googleapis.com/tff-datasets-public/emnist_all.sqlite.lzma'
)
# TFF's training and test half of each writer.
_SPLITS = ('all_train', 'all_test')
_BATCH = 1000


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the task.

    Attributes:
        test_users: expected fraction of the writers that are tested, not trained on.
        validation_users: expected fraction kept apart to choose settings with; 0 for
            none.
        validation_classes: classes of the 36 that validation writers are tested on,
            if there are such writers, and nobody trains on.
        partial: accept counts other than the published ones.
    """

    default_backbone: ClassVar[str] = 'lenet'

    test_users: float = 0.1
    validation_users: float = 0.0
    validation_classes: int = 10
    partial: bool = False


def build(config: base.TaskConfig) -> base.Task:
    """Converts EMNIST from TFF's database, compressed or not, in `config.data_dir`.

    Raises:
        FileNotFoundError: for a missing database.
        ValueError: for a damaged one, or counts that are not as published.
    """
    options = base.parse_options(Options, config, NAME)
    data_dir = base.require_data_dir(config, NAME, _WHERE)
    path = data_dir / _DATABASE
    if not path.exists():
        path = data_dir / f'{_DATABASE}.lzma'
        base.require_files([path], NAME, _WHERE)
    _check_written(path)
    checksum = cache.file_fingerprint(path, config.cache_dir)
    return converted.build(
        config,
        NAME,
        {'options': dataclasses.asdict(options), 'database': checksum},
        preprocessing_lib.Preprocessing(28, channels=1, fit='stretch', invert=True),
        functools.partial(_read, config, options, path, checksum),
        partial=options.partial,
        description='EMNIST, user = writer',
        default_backbone=options.default_backbone,
    )


def _read(config, options, path, checksum):
    if path.suffix == '.lzma':
        folder = pathlib.Path(config.cache_dir).absolute() / 'tff' / checksum[:16]
        _decompress(path, folder / _DATABASE)
        path = folder / _DATABASE
    _check(path)
    labels = progress.each(_labels(path), None, 'counting images', 'image')
    counts = collections.Counter((writer, CLASSES[label]) for writer, label in labels)
    fractions = {'test': options.test_users, 'validation': options.validation_users}
    division = splits.Division(
        users=splits.by_hash('user', fractions, config.seed),
        identities=_class_parts(options, config.seed).get,
    )

    def examples():
        for number, writer, label, pixels in _rows(path):
            part = division.part(writer, CLASSES[label])
            if part is not None:
                grey = np.rint(pixels * 255).astype(np.uint8)
                yield conversion.Example(part, writer, CLASSES[label], grey, f'row {number}')

    return converted.found(
        counts,
        division,
        examples(),
        words=('writers', 'classes'),
        published=(3_400, 62, 671_585 + 77_483),
    )


def _class_parts(options, seed):
    parts = dict.fromkeys(_UNSEEN, 'test')
    seen = [label for label in CLASSES if label not in _UNSEEN]
    count = options.validation_classes if options.validation_users else 0
    return parts | splits.of_public_list(seen, {'validation': count}, seed)


def _decompress(path, target):
    """Unpacks the database, unless that was done before."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        size = path.stat().st_size
        with (
            files.appearing_file(target) as draft,
            progress.bar(size, f'unpacking {path.name}', 'B') as bar,
        ):
            with open(path, 'rb') as packed, lzma.open(packed) as content:
                with open(draft, 'wb') as file:
                    done = 0
                    while block := content.read(1 << 22):
                        file.write(block)
                        bar.update(packed.tell() - done)
                        done = packed.tell()
                        tfds_archives.check_unpacked(path, file.tell(), _WHERE)
    except (lzma.LZMAError, EOFError) as error:
        raise tfds_archives.damaged(path, error, _WHERE) from None


def _check_written(path):
    """Refuses a database part of which is beside it, where no checksum sees it."""
    for end in ('-wal', '-journal'):
        beside = path.with_name(path.name + end)
        if os.path.lexists(beside) and beside.stat().st_size:
            raise ValueError(
                f'{beside}: has changes that {path.name} lacks; close the program that made'
                ' them, or fetch the database again and delete what is beside it'
            )


def _check(path):
    """Has TFF open the database; the file is there, so TFF fetches none."""
    import tensorflow_federated as tff

    _check_tables(path)
    try:
        tff.simulation.datasets.emnist.load_data(
            only_digits=False, cache_dir=os.fspath(path.parent)
        )
    # TFF and SQLite raise different errors for a file that is no such database.
    except Exception as error:
        raise tfds_archives.damaged(path, error, _WHERE) from None


def _check_tables(path):
    """Refuses what SQLite would run: a view in the place of a table may never end."""
    try:
        with contextlib.closing(_open(path)) as database:
            parts = database.execute('SELECT type, name, sql FROM sqlite_master').fetchall()
    except sqlite3.Error as error:
        raise tfds_archives.damaged(path, error, _WHERE) from None
    for kind, name, sql in parts:
        if kind not in ('table', 'index') or 'virtual' in str(sql).lower().split()[:2]:
            raise tfds_archives.damaged(path, f'{name} is no plain table', _WHERE)


def _open(path):
    database = sqlite3.connect(f'{path.as_uri()}?mode=ro', uri=True)
    # Of a value; an example has 3 kB.
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1 << 19)
    return database


def _labels(path) -> Iterator[tuple[str, int]]:
    for _, writers, example in _batches(path, label=((), 'int64')):
        labels = example['label'].numpy()
        # A negative one would count from the end of the classes.
        wrong = (labels < 0) | (labels >= len(CLASSES))
        if wrong.any():
            reason = f'label {labels[wrong][0]}, expected 0 to {len(CLASSES) - 1}'
            raise tfds_archives.damaged(path, reason, _WHERE)
        yield from zip(writers, labels.tolist())


def _rows(path) -> Iterator[tuple[int, str, int, np.ndarray]]:
    """Yields number, writer, label and pixels (float32 [28, 28], 1 is paper)."""
    features = {'label': ((), 'int64'), 'pixels': ((28, 28), 'float32')}
    for numbers, writers, example in _batches(path, **features):
        pixels = example['pixels'].numpy()
        if not np.all((pixels >= 0) & (pixels <= 1)):
            raise tfds_archives.damaged(path, 'pixels beyond 0 to 1', _WHERE)
        yield from zip(numbers, writers, example['label'].numpy().tolist(), pixels)


def _batches(path, **features):
    """Reads all writers in one pass.

    TFF's `ClientData` asks the database once per writer, which takes minutes, or
    hours if the database has no index. What comes is the same, and is tested to be.
    """
    import tensorflow as tf

    spec = {name: tf.io.FixedLenFeature(*kind) for name, kind in features.items()}
    query = (
        'SELECT rowid, client_id, serialized_example_proto FROM examples'
        f' WHERE split_name IN {_SPLITS}'
    )
    try:
        with contextlib.closing(_open(path)) as database:
            rows = database.execute(query)
            while batch := rows.fetchmany(_BATCH):
                numbers, writers, protos = zip(*batch)
                if not all(isinstance(writer, str) and writer for writer in writers):
                    raise tfds_archives.damaged(path, 'a row without a writer', _WHERE)
                if not all(isinstance(proto, bytes) for proto in protos):
                    raise tfds_archives.damaged(path, 'a row without an example', _WHERE)
                yield numbers, writers, tf.io.parse_example(list(protos), spec)
    # What SQLite raises for text that is no UTF-8 is an OperationalError, too.
    except (sqlite3.Error, tf.errors.OpError, UnicodeDecodeError) as error:
        raise tfds_archives.damaged(path, error, _WHERE) from None

"""Labeled Faces in the Wild, with the official verification protocol.

LFW is made for evaluation: pairs.txt asks in 10 folds of 600 pairs whether two images
show the same person. All images of the people in pairs.txt are the test part, so that
recall over all pairs can be had of them too; the other people, who are in no pair, are
the training users. Reported figures usually come from training on another collection
(`digiface`, your own) and evaluating here.

Source: Huang et al., UMass Amherst Technical Report 07-49 (2007).
"""

import collections
import dataclasses
import functools
import pathlib
import re
from typing import ClassVar

import numpy as np

from dp_fedemb import validate
from dp_fedemb.data import cache
from dp_fedemb.data import lists
from dp_fedemb.data import names as names_lib
from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.data.images import tfds_users
from tasks import tfds as tfds_task
from tasks.shared import base
from tasks.shared import converted
from tasks.shared import splits
from tasks.shared import tar_archives
from tasks.shared import tfds_archives

NAME = 'lfw'
_ARCHIVES = ('lfw.tgz', 'lfw-deepfunneled.tgz', 'lfw-funneled.tgz')
_SITE = 'http://vis-www.cs.umass.edu/lfw'
_WHERE = (
    f'lfw.tgz from https://ndownloader.figshare.com/files/5976018 or {_SITE}/lfw.tgz'
    f' (or {" or ".join(_ARCHIVES[1:])} from {_SITE}/)'
)
_WHERE_PAIRS = (
    f'pairs.txt from {_SITE}/pairs.txt or https://ndownloader.figshare.com/files/5976006'
)
_MEMBER = re.compile(r'(?:.*/)?([^/]+)/\1_(\d{4})\.jpg')


@dataclasses.dataclass(frozen=True)
class Options(base.UserSplitOptions):
    """Options of the task.

    Attributes:
        protocol: 'pairs', the official one, which says who is tested; or 'all_pairs',
            people divided by hash.
        image_size: side in pixels.
        centre: fraction of the originals (250 pixels) that is kept around the centre,
            where the face is.
        partial: accept counts other than the published ones.
    """

    default_backbone: ClassVar[str] = 'resnet18'

    protocol: str = 'pairs'
    image_size: int = 112
    centre: float = 0.64
    partial: bool = False


def build(config: base.TaskConfig) -> base.Task:
    """Converts LFW.

    `config.data_dir` holds an official archive and pairs.txt; with protocol=all_pairs
    it may be a TFDS directory with `lfw`, which lacks the numbers that pairs.txt uses.

    Raises:
        FileNotFoundError: for a missing file.
        ValueError: for a damaged one, or counts that are not as published.
    """
    options = base.parse_options(Options, config, NAME)
    validate.one_of('option protocol', options.protocol, ('pairs', 'all_pairs'))
    data_dir = base.require_data_dir(config, NAME, f'{_WHERE} and {_WHERE_PAIRS}')
    archives = [data_dir / name for name in _ARCHIVES if (data_dir / name).is_file()]
    in_tfds = not archives and (data_dir / 'lfw').is_dir()
    if not archives and not in_tfds:
        raise FileNotFoundError(f'{data_dir}: task {NAME} finds no {_WHERE}')
    lines = None
    source = {'options': dataclasses.asdict(options)}
    if options.protocol == 'pairs':
        if in_tfds:
            raise ValueError(
                f'option protocol=pairs: the TFDS data set in {data_dir} does not number a'
                f" person's images; get {_WHERE}, or set protocol=all_pairs"
            )
        base.require_files([data_dir / 'pairs.txt'], NAME, _WHERE_PAIRS)
        source['pairs'] = cache.file_fingerprint(data_dir / 'pairs.txt', config.cache_dir)
        lines = read_pairs(data_dir / 'pairs.txt')
    if in_tfds:
        builder = tfds_task.load_prepared('lfw', data_dir)
        source['tfds'] = cache.listing_fingerprint(builder.data_path)
        rows = functools.partial(_tfds_rows, builder)
    else:
        source['archive'] = cache.file_fingerprint(archives[0], config.cache_dir)
        rows = functools.partial(_archive_rows, archives[0])
    task = converted.build(
        config,
        NAME,
        source,
        preprocessing_lib.Preprocessing(options.image_size, centre=options.centre),
        functools.partial(_read, config, options, rows, lines),
        partial=options.partial,
        description='Labeled Faces in the Wild, user = person',
        default_backbone=options.default_backbone,
    )
    return _with_pairs(task, lines, options.partial) if lines else task


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of pairs.txt: two images, named 'Person/0001', of one person or two."""

    first: str
    second: str
    same: bool
    fold: int


def read_pairs(path: pathlib.Path) -> list[Line]:
    """Reads pairs.txt.

    The first line has the number of folds and the number n of pairs of either kind in
    each; then for each fold n lines 'person i j' and n lines 'person i person j'.

    Raises:
        ValueError: for another form or number of lines.
    """
    listed = map(names_lib.normal, lists.read_lines(path))
    rows = [line.split() for line in listed if line.strip()]
    try:
        folds, each = map(int, rows[0])
        if len(rows) != 1 + 2 * folds * each:
            raise ValueError(f'{len(rows) - 1} pairs, expected {2 * folds * each}')
        lines = []
        for index, row in enumerate(rows[1:]):
            same = index // each % 2 == 0
            person, i, other, j = (row[0], row[1], row[0], row[2]) if same else row
            names = f'{person}/{int(i):04d}', f'{other}/{int(j):04d}'
            lines.append(Line(*names, same, index // (2 * each)))
    except (ValueError, IndexError) as error:
        raise tfds_archives.damaged(path, error, _WHERE_PAIRS) from None
    return lines


def _archive_rows(path):
    """Yields (person, 'person/number', image) in the order of the archive."""
    seen = set()
    for name, image in tar_archives.read(path, _MEMBER.fullmatch, _WHERE):
        person, number = _MEMBER.fullmatch(name).groups()
        person = names_lib.normal(person)
        if (person, number) in seen:
            raise tfds_archives.damaged(path, f'{name} is there twice', _WHERE)
        seen.add((person, number))
        yield person, f'{person}/{number}', image


def _tfds_rows(builder):
    for index, row in enumerate(tfds_users.read(builder, 'train')):
        person = names_lib.normal(row['label'].decode())
        yield person, f'{person}/example{index}', row['image']


def _read(config, options, rows, lines):
    counts = collections.Counter(person for person, _, _ in rows())
    if lines:
        tested = {name.split('/')[0] for line in lines for name in (line.first, line.second)}
        division = splits.Division(lambda person: 'test' if person in tested else 'train')
        facts = [base.Fact('pairs', len(lines), 6_000)]
        facts.append(base.Fact('folds', 1 + max(line.fold for line in lines), 10))
    else:
        division = converted.divide(options, config.seed, own_identities=True)
        facts = []
    total = sum(counts.values())
    return converted.Input(
        (
            conversion.Example(division.users(person), person, person, image, name)
            for person, name, image in rows()
        ),
        total,
        facts=(
            base.Fact('images', total, 13_233),
            base.Fact('people', len(counts), 5_749),
            *facts,
        ),
        max_broken=options.max_broken,
        train_users=division.roster(counts),
    )


def _with_pairs(task, lines, partial):
    """Adds the protocol, as rows of the test store."""
    from dp_fedemb.evaluation import pair_protocol

    row = {name: index for index, name in enumerate(task.test.example_names)}
    kept = [line for line in lines if line.first in row and line.second in row]
    notes = task.notes
    if len(kept) < len(lines):
        missing = len(lines) - len(kept)
        note = f'{missing:,} of {len(lines):,} pairs name images that are missing'
        if not partial:
            raise ValueError(f'task {NAME}: {note}; get {_WHERE}, or set partial=true')
        notes += (note,)
    left, fold = np.unique([line.fold for line in kept], return_inverse=True)
    lost = sorted({line.fold for line in lines} - set(left.tolist()))
    if len(left) < 2:
        raise ValueError(
            f'task {NAME}: pairs are left in {len(left)} fold(s) of {len(left) + len(lost)},'
            f' and the threshold of one is chosen on others; get {_WHERE}, or set'
            ' protocol=all_pairs'
        )
    if lost:
        notes += (
            f'no pair is left in fold(s) {", ".join(map(str, lost))} of'
            f' {len(left) + len(lost)}: the accuracy is that of {len(left)} folds, and not to'
            ' be compared with published ones',
        )
    return dataclasses.replace(
        task,
        notes=notes,
        pairs=pair_protocol.VerificationPairs(
            first=np.array([row[line.first] for line in kept], np.int64),
            second=np.array([row[line.second] for line in kept], np.int64),
            same=np.array([line.same for line in kept], bool),
            fold=fold.astype(np.int32),
        ),
    )

"""Omniglot through TFDS: 1,623 characters of 50 alphabets, each drawn by 20 people.

Train: the 964 background characters; test: the 659 evaluation characters, other
alphabets. A user is a character (the shape of a face set: user = identity), or a
drawer of one alphabet (the shape of EMNIST: a user writes many classes).

Source: Lake, Salakhutdinov, Tenenbaum, Science 350 (2015).
"""

import collections
from collections.abc import Callable
import dataclasses
import functools
import hashlib
import pathlib
import re
from typing import ClassVar
import zipfile

from dp_fedemb import validate
from dp_fedemb.data import cache
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.data.images import tfds_users
from tasks.shared import base
from tasks.shared import converted
from tasks.shared import splits
from tasks.shared import tfds_archives

NAME = 'omniglot'
ARCHIVES = {
    'images_background.zip': 'train',
    'images_evaluation.zip': 'test',
    'images_background_small1.zip': None,
    'images_background_small2.zip': None,
}
# Number of the character, and of the drawer.
_DRAWING = re.compile(r'(?:^|/)([0-9]{1,9})_([0-9]{1,9})\.png$')
_BACKGROUND_ALPHABETS = 30
_WHERE = (
    f'{", ".join(ARCHIVES)}, all four, from'
    ' https://github.com/brendenlake/omniglot/tree/master/python'
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the task.

    Attributes:
        user: 'character' or 'drawer'.
        image_size: side in pixels; the originals have 105.
        validation_alphabets: how many of the 30 background alphabets to expect to be kept
            from training for validation; each is, or is not, by the hash of its name.
            Whole alphabets, so that drawers stay apart too.
        public_alphabets: the same, for pretraining.
        archives: directory of the archives, for user=drawer where data_dir is a
            prepared TFDS directory (which has no drawers).
        partial: accept counts other than the published ones.
    """

    default_backbone: ClassVar[str] = 'lenet'

    user: str = 'character'
    image_size: int = 28
    validation_alphabets: int = 0
    public_alphabets: int = 0
    archives: str = ''
    partial: bool = False


def build(config: base.TaskConfig) -> base.Task:
    """Converts Omniglot from its archives, or from a TFDS directory.

    `config.data_dir` holds the four official archives, or a prepared TFDS data set
    (`omniglot/3.0.0`).

    Raises:
        FileNotFoundError: for a missing archive.
        ValueError: for a damaged one, or counts that are not as published.
    """
    options = base.parse_options(Options, config, NAME)
    validate.one_of('option user', options.user, ('character', 'drawer'))
    validate.non_negative(
        validation_alphabets=options.validation_alphabets,
        public_alphabets=options.public_alphabets,
    )
    data_dir = base.require_data_dir(config, NAME, f'a TFDS data_dir or {_WHERE}')
    prepared = (data_dir / 'omniglot').is_dir()
    archives = pathlib.Path(options.archives) if options.archives else data_dir
    files = [] if prepared else [archives / name for name in ARCHIVES]
    if options.user == 'drawer' and prepared:
        if not options.archives:
            raise ValueError(
                f'option user=drawer: the TFDS data set in {data_dir} has no drawers; name the'
                ' directory of the archives with the option archives=DIR'
            )
        files = [archives / name for name, split in ARCHIVES.items() if split]
    base.require_files(files, NAME, _WHERE)
    sums = {path.name: cache.file_fingerprint(path, config.cache_dir) for path in files}
    source = {'options': dataclasses.asdict(options), 'archives': sums}
    if prepared:
        source['tfds'] = cache.listing_fingerprint(data_dir / 'omniglot')
    read = functools.partial(
        _read, config, options, data_dir if prepared else None, archives, files
    )
    return converted.build(
        config,
        NAME,
        source,
        preprocessing_lib.Preprocessing(
            options.image_size, channels=1, fit='stretch', resampling='box', invert=True
        ),
        read,
        partial=options.partial,
        description=f'Omniglot, user = {options.user}',
        default_backbone=options.default_backbone,
    )


def _read(config, options, prepared_dir, archives, files):
    import tensorflow_datasets as tfds

    for path in files:
        tfds_archives.check_zip(path, _WHERE)
    if prepared_dir is None:
        digest = hashlib.sha256()
        for path in files:
            digest.update(cache.file_fingerprint(path, config.cache_dir).encode())
        # One prepared data set per set of archives.
        cache_dir = pathlib.Path(config.cache_dir).absolute()
        data_dir = cache_dir / 'tfds' / digest.hexdigest()[:16]
        builder = tfds_archives.builder_from_archives(NAME, archives, data_dir, _WHERE)
    else:
        builder = tfds.builder(NAME, data_dir=str(prepared_dir))
    features = builder.info.features
    alphabet = tfds_users.key_function('alphabet', features)
    user = identity = tfds_users.key_function('label', features)
    if options.user == 'drawer':
        drawers = _Drawers(archives)
        user = lambda example: f'{alphabet(example)}/drawer{drawers(example):02d}'
    rows = {
        split: [(alphabet(row), identity(row)) for row in tfds_users.read(builder, split)]
        for split in ('train', 'test')
    }
    part_of_alphabet = _alphabets(options, config.seed)
    part_of_character = {name: part_of_alphabet(letters) for letters, name in rows['train']}
    part_of_character.update((name, 'test') for _, name in rows['test'])

    def examples():
        for split in rows:
            yield from tfds_users.examples(
                tfds_users.read(builder, split),
                user,
                identity,
                lambda _, name: part_of_character[name],
                name=split,
            )
        if options.user == 'drawer':
            drawers.check_all_used()

    characters = {split: {name for _, name in rows[split]} for split in rows}
    total = sum(map(len, rows.values()))
    return converted.Input(
        examples(),
        total,
        facts=(
            base.Fact('images', total, 32_460),
            base.Fact('characters', len(characters['train'] | characters['test']), 1_623),
            base.Fact('background characters', len(characters['train']), 964),
            base.Fact('evaluation characters', len(characters['test']), 659),
        ),
        notes=('drawer k of two alphabets is not known to be the same person',)
        if options.user == 'drawer'
        else (),
    )


def _alphabets(options: Options, seed: int) -> Callable[[str], str]:
    """Gives the part of a background alphabet.

    By its own name alone: which alphabets there are depends on the users.
    """
    wanted = {'validation': options.validation_alphabets, 'public': options.public_alphabets}
    fractions = {part: count / _BACKGROUND_ALPHABETS for part, count in wanted.items()}
    return splits.by_hash('alphabet', fractions, seed)


class _Drawers:
    """The drawer of a TFDS example, which has none, from the archives' file names.

    TFDS keeps the encoded image and the label, and both together lead back to the
    file `NNNN_DD.png`, where DD is the drawer. (Where two drawers made the very same
    drawing of a character, either may have either.) Every example must be found and
    every file used once: then both sources agree.
    """

    def __init__(self, archives: pathlib.Path):
        self._drawers = collections.defaultdict(list)
        for name, split in ARCHIVES.items():
            if split:
                self._index(archives / name)
        self._left = sum(map(len, self._drawers.values()))

    def _index(self, path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith('.png'):
                    found = _DRAWING.search(member)
                    if found is None:
                        reason = f'{member}: expected a name like 0001_01.png'
                        raise tfds_archives.damaged(path, reason, _WHERE)
                    key = int(found[1]) - 1, archive.read(member)
                    self._drawers[key].append(int(found[2]))

    def __call__(self, example) -> int:
        key = int(example['label']), example['image']
        if not self._drawers.get(key):
            raise ValueError(
                f'Omniglot: TFDS has an image of label {key[0]} that the archives lack; they'
                ' are not of the same release'
            )
        self._left -= 1
        return self._drawers[key].pop(0)

    def check_all_used(self) -> None:
        """Raises ValueError if the archives hold images that TFDS did not give."""
        if self._left:
            raise ValueError(
                f'Omniglot: the archives hold {self._left} images that the TFDS data set'
                ' lacks; they are not of the same release'
            )

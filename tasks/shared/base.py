"""What a task is, and what all tasks share: options, facts, splits."""

from collections.abc import Iterable, Mapping
import dataclasses
import pathlib
from typing import Any, Optional, TypeVar

from dp_fedemb import data
from dp_fedemb import known_names
from dp_fedemb import settings
from dp_fedemb import validate
from dp_fedemb.data.images import decoding
from dp_fedemb.data.images import preprocessing as preprocessing_lib

_Options = TypeVar('_Options')


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """Where a task's data come from.

    Attributes:
        data_dir: directory of the official files; None where the task needs none.
        cache_dir: directory for converted data, made if missing.
        seed: of drawing, splitting and subsampling. Stores carry it, so it is not a
            run's secret seed.
        max_examples_per_user: training users with more images keep this many,
            chosen deterministically; None keeps all.
        options: the task's own options as text, see the `Options` of its module.
    """

    data_dir: Optional[str] = settings.setting(
        None, "Directory of the task's official files.", decides=False
    )
    cache_dir: str = settings.setting(
        'data_cache', 'Where converted data are kept.', decides=False
    )
    seed: int = settings.setting(
        0,
        'Of drawing, splitting, subsampling; not secret.',
        flag='data_seed',
        within='[0, 1e18)',
    )
    max_examples_per_user: Optional[int] = settings.setting(
        None, 'Training users with more images keep this many.', within='[1, 1e9]'
    )
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        settings.check(self)


@dataclasses.dataclass(frozen=True)
class Fact:
    """A count that was found, and the published one (None if there is none)."""

    what: str
    found: int
    published: Optional[int] = None

    @property
    def agrees(self) -> bool:
        """Whether what was found is what was published."""
        return self.published is None or self.found == self.published

    def __str__(self):
        if self.published is None:
            return f'{self.found:,} {self.what}'
        verdict = 'as published' if self.agrees else f'published: {self.published:,}'
        return f'{self.found:,} {self.what} ({verdict})'


@dataclasses.dataclass(frozen=True)
class Task:
    """Data of one experiment.

    Attributes:
        name: name of the task.
        train: the training users.
        test: users and identities that `train` lacks.
        validation: users and identities that both lack, or None.
        public: public images to pretrain on, or None.
        description: one line.
        default_backbone: name in `dp_fedemb.models.BACKBONES`.
        default_embedding_dim: size of the embedding.
        expected_facts: counts of the whole data, compared with the published ones.
        notes: lines worth showing once: what was left out, and why.
        pairs: the task's own verification protocol, or None for all pairs.
    """

    name: str
    train: data.UserStore
    test: data.UserStore
    validation: Optional[data.UserStore] = None
    public: Optional[data.UserStore] = None
    description: str = ''
    default_backbone: str = 'lenet'
    default_embedding_dim: int = 128
    expected_facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()
    pairs: Optional[Any] = None

    @property
    def stores(self) -> dict[str, data.UserStore]:
        """The parts that there are, by name."""
        parts = {name: getattr(self, name) for name in PARTS}
        return {name: store for name, store in parts.items() if store is not None}

    def summary(self) -> str:
        """Returns what was found, in a few lines of text."""
        lines = [f'{self.name}: {self.description}']
        for name, store in self.stores.items():
            per_user = store.num_examples / store.num_users
            lines.append(
                f'  {name}: {store.num_users:,} users, {store.num_identities:,}'
                f' identities, {store.num_examples:,} images'
                f' ({per_user:.1f} per user) of {store.example_spec}'
            )
            absent = store.num_users - int(store.present.sum())
            if absent:
                lines.append(f'    {absent:,} of these users are places without data')
            if store.meta.get('users_cut'):
                lines.append(
                    f'    {store.meta["users_cut"]:,} users held more than the limit;'
                    f' {store.meta["examples_dropped"]:,} of their images are left out'
                )
        lines.extend(f'  found: {fact}' for fact in self.expected_facts)
        lines.extend(f'  note: {note}' for note in self.notes)
        return '\n'.join(lines)


@dataclasses.dataclass(frozen=True)
class UserSplitOptions:
    """Options of the tasks that divide users by hash.

    Attributes:
        test_users: expected fraction of the users that are tested, not trained on.
        validation_users: expected fraction kept apart to choose settings with; 0 for
            none.
        max_broken: images that may be unreadable; one more stops the conversion.
    """

    test_users: float = 0.1
    validation_users: float = 0.0
    max_broken: int = 0

    @property
    def user_fractions(self) -> dict[str, float]:
        """For `splits.by_hash`."""
        return {'test': self.test_users, 'validation': self.validation_users}


@dataclasses.dataclass(frozen=True)
class SplitOptions(UserSplitOptions):
    """Options of the tasks that divide identities, too.

    Attributes:
        test_identities: expected fraction of the identities that are tested; images of
            a user of one part that show an identity of another are left out.
        validation_identities: the same for validation, if there are such users.
    """

    test_identities: float = 0.2
    validation_identities: float = 0.1

    @property
    def identity_fractions(self) -> dict[str, float]:
        """For `splits.by_hash`."""
        validation = self.validation_identities if self.validation_users else 0.0
        return {'test': self.test_identities, 'validation': validation}


@dataclasses.dataclass(frozen=True)
class CollectionOptions(SplitOptions):
    """Options of the tasks that read any collection of images.

    Attributes:
        identities: 'shared' where several users may hold one identity, or 'own' where
            they do not: names count within their user then, and nothing is left out.
            Not looked at where the user is the identity.
        image_size: side in pixels.
        channels: 1 (grey) or 3 (RGB).
        fit: how other proportions become a square: crop, pad or stretch.
        invert: whether dark becomes bright, for ink on paper.
        max_pixels: pictures of more count as broken, before they are decoded.
        default_backbone: what training uses unless --backbone says otherwise.
    """

    identities: str = 'shared'
    image_size: int = 64
    channels: int = 3
    fit: str = 'crop'
    invert: bool = False
    max_pixels: int = decoding.MAX_PIXELS
    default_backbone: str = 'resnet18'

    def __post_init__(self) -> None:
        validate.one_of('option identities', self.identities, ('shared', 'own'))
        backbones = known_names.backbones()
        validate.one_of('option default_backbone', self.default_backbone, backbones)

    @property
    def preprocessing(self) -> preprocessing_lib.Preprocessing:
        """Of each image."""
        return preprocessing_lib.Preprocessing(
            self.image_size,
            self.channels,
            self.fit,
            invert=self.invert,
            max_pixels=self.max_pixels,
        )


PARTS = ('train', 'validation', 'test', 'public')


def parse_options(kind: type[_Options], config: TaskConfig, task: str) -> _Options:
    """Turns options given as text into a task's dataclass.

    Fields are of type int, float, bool or str, and have defaults. A class whose
    `reads_data_dir` is false is of a task that needs no files.

    Raises:
        ValueError: for an unknown option, a value that is no such number, or a directory of
            data that are not read.
    """
    if config.data_dir is not None and not getattr(kind, 'reads_data_dir', True):
        raise ValueError(
            f'data_dir={config.data_dir!r}: task {task} draws its data and does not read any;'
            ' leave it out'
        )
    known = {field.name: field for field in dataclasses.fields(kind)}
    values = {}
    for name, text in config.options.items():
        if name not in known:
            raise ValueError(
                f'option {name}={text!r}: task {task} has no such option; it has'
                f' {", ".join(known) or "none"}'
            )
        values[name] = _parse(name, text, type(known[name].default))
    return kind(**values)


def _parse(name, text, kind):
    if isinstance(text, kind):
        return text
    words = {'true': True, '1': True, 'false': False, '0': False}
    try:
        text = str(text)
        value = words[text.lower()] if kind is bool else validate.read_number(text, kind)
    except (KeyError, ValueError):
        raise ValueError(
            f'option {name}={text!r}: expected a value of type {kind.__name__}'
        ) from None
    if kind in (int, float):
        # No count, size or fraction is below zero; most have bounds of their own.
        validate.within('[0, 1e12]', **{f'option {name}': value})
    return value


def check_facts(task: str, facts: Iterable[Fact], partial: bool) -> None:
    """Raises ValueError where counts differ from the published ones, unless `partial`."""
    wrong = [str(fact) for fact in facts if not fact.agrees]
    if wrong and not partial:
        raise ValueError(
            f'task {task}: the data are incomplete or another release: {"; ".join(wrong)};'
            ' fetch the official files again, or accept them with the option partial=true'
        )


def require_data_dir(config: TaskConfig, task: str, what: str) -> pathlib.Path:
    """Returns the data directory.

    Args:
        config: of the task.
        task: name of the task.
        what: what should be in the directory and where to get it.

    Raises:
        ValueError: if none is given.
        FileNotFoundError: if it is not there.
    """
    if not config.data_dir:
        raise ValueError(f'data_dir=None: task {task} needs {what}')
    path = pathlib.Path(config.data_dir).expanduser().absolute()
    if not path.is_dir():
        raise FileNotFoundError(
            f'data_dir={config.data_dir!r}: no such directory; task {task} needs {what}'
        )
    return path


def require_files(paths: Iterable[pathlib.Path], task: str, where: str) -> None:
    """Raises FileNotFoundError naming all files that are missing, and where to get them."""
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(f'{", ".join(missing)}: missing; task {task} needs {where}')

"""Where the released model is, which one it is, and how its pictures are prepared."""

from collections.abc import Mapping
import contextlib
import hashlib
import os
import pathlib
from typing import Any, Optional, Union

from dp_fedemb import json_files
from dp_fedemb.data.images import preprocessing as preprocessing_lib

# Of the directory in that of a run.
NAME = 'saved_model'
# From pictures to the model's images; in the SavedModel's directory.
PREPROCESSING = 'preprocessing.json'
_WAY_OUT = 'save the model again'
# What a SavedModel consists of. TensorFlow's own fingerprint.pb tells nothing more.
PARTS = ('saved_model.pb', 'variables', 'assets', PREPROCESSING)
# Where a run notes the round and the fingerprint of what it has published beside it.
NOTE = pathlib.PurePath('checkpoints', 'published.json')


def find(directory: Union[str, os.PathLike], argument: str) -> pathlib.Path:
    """Returns the SavedModel at a path, or the one in the run directory at that path.

    Args:
        directory: that of a SavedModel, or of a run.
        argument: what the caller calls it, for messages.

    Returns:
        its path; of a link what it leads to, since what is said of the model stands there.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a part of it is no file, for instance a pipe, which nobody could read.
    """
    directory = pathlib.Path(directory).expanduser()
    if directory.is_file():
        raise FileNotFoundError(
            f'{argument}={str(directory)!r}: is a file; expected the directory of a SavedModel,'
            ' the one format that is loaded here, or of a run'
        )
    if not directory.is_dir():
        raise FileNotFoundError(f'{argument}={str(directory)!r}: no such directory')
    for path in (directory, directory / NAME):
        if (path / 'saved_model.pb').exists():
            path = path.resolve() if path.is_symlink() else path
            for part in parts(path):
                if not (part.is_file() or part.is_dir()):
                    raise ValueError(
                        f'{argument}={str(directory)!r}: {part.relative_to(path)} is a pipe, a'
                        f' device or a link to nothing; {_WAY_OUT}'
                    )
            return path
    raise FileNotFoundError(
        f'{argument}={str(directory)!r}: no SavedModel here (neither saved_model.pb nor'
        f' {NAME}/ with it); give the output directory of bin/pretrain.py or bin/train.py,'
        ' which has one as soon as a checkpoint is saved, or a SavedModel'
    )


def parts(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns the paths of a SavedModel's files and directories that are there, sorted."""
    named = (part for name in PARTS for part in (path / name, *(path / name).rglob('*')))
    return sorted(part for part in named if os.path.lexists(part))


def fingerprint(path: pathlib.Path) -> str:
    """Returns what tells a SavedModel from every other: a hash of its files, in hex.

    A copy has the same one. A model that is saved again has another one, even with the
    same weights.

    Args:
        path: what `find` returned.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in filter(pathlib.Path.is_file, parts(path)):
        with part.open('rb') as stream:
            of_part = hashlib.file_digest(stream, 'blake2b').digest()
        digest.update(hashlib.blake2b(str(part.relative_to(path)).encode()).digest() + of_part)
    return digest.hexdigest()


def noted(run: pathlib.Path) -> dict[str, Any]:
    """Returns round and fingerprint of the model that a run in this directory published.

    Empty if it notes none; a damaged note is none.
    """
    with contextlib.suppress(OSError, ValueError), json_files.whole(run / NOTE, _WAY_OUT):
        note = json_files.read(run / NOTE, _WAY_OUT)
        return {'round': int(note['round']), 'fingerprint': str(note['fingerprint'])}
    return {}


def described_in(path: pathlib.Path) -> pathlib.Path:
    """Returns the directory whose files (statement, evaluation) speak of a SavedModel.

    That of its run; of a SavedModel under another name its own, since a directory may hold
    many of them beside the statement of one.
    """
    return path.parent if path.name == NAME else path


def is_published(path: pathlib.Path) -> Optional[bool]:
    """Whether the run around a SavedModel published just this one; None if none says so.

    Args:
        path: what `find` returned.
    """
    note = noted(path.parent) if path.name == NAME else {}
    return fingerprint(path) == note['fingerprint'] if note else None


def write_preprocessing(
    directory: Union[str, os.PathLike],
    preprocessing: Optional[preprocessing_lib.Preprocessing],
) -> None:
    """Writes beside a SavedModel how its pictures are prepared, if that is known."""
    if preprocessing is not None:
        json_files.write(pathlib.Path(directory) / PREPROCESSING, preprocessing.record())


def read_preprocessing(
    directory: Union[str, os.PathLike],
) -> Optional[preprocessing_lib.Preprocessing]:
    """Returns how the pictures of a model are prepared; None if it does not say.

    Args:
        directory: that of a SavedModel, or of a run.

    Raises:
        FileNotFoundError: if there is no SavedModel.
        ValueError: for a damaged record.
    """
    path = find(directory, 'model') / PREPROCESSING
    if not path.exists():
        return None
    record = json_files.read(path, _WAY_OUT)
    with json_files.whole(path, _WAY_OUT):
        return preprocessing_lib.Preprocessing.of_record(record)


def preprocessing_of(
    directory: Union[str, os.PathLike],
    image_shape: tuple[int, ...],
    asked: Optional[Mapping[str, Any]] = None,
) -> preprocessing_lib.Preprocessing:
    """Returns how pictures become what a model takes.

    Args:
        directory: that of a SavedModel, or of a run.
        image_shape: that it takes, (H, W, C).
        asked: fields of `Preprocessing` that somebody wants to have a value, None for none.
            They decide where the model does not say it itself.

    Raises:
        FileNotFoundError: if there is no SavedModel.
        ValueError: if the model was trained with something else than is asked for, or does
            not take square images.
    """
    if len(image_shape) != 3 or image_shape[0] != image_shape[1]:
        raise ValueError(
            f'model={str(directory)!r} takes examples of {"x".join(map(str, image_shape))}:'
            ' expected square images of one size'
        )
    wanted = {name: value for name, value in (asked or {}).items() if value is not None}
    own = read_preprocessing(directory)
    if own is None:
        return preprocessing_lib.Preprocessing(image_shape[0], image_shape[2], **wanted)
    if own.image_shape != tuple(image_shape):
        raise ValueError(
            f'model={str(directory)!r}: takes images of {list(image_shape)}, its'
            f' {PREPROCESSING} speaks of {list(own.image_shape)}; save the model again'
        )
    for name, value in wanted.items():
        if getattr(own, name) != value:
            raise ValueError(
                f'{name}={value!r}: model={str(directory)!r} was trained with'
                f' {name}={getattr(own, name)!r}; leave {name} out'
            )
    return own


def check_preprocessing(
    directory: Union[str, os.PathLike],
    of_data: Optional[preprocessing_lib.Preprocessing],
    remedy: str,
) -> None:
    """Raises ValueError if examples were prepared in another way than a model's.

    Args:
        directory: that of a SavedModel, or of a run.
        of_data: how the examples were prepared; None if that is not known.
        remedy: what to do about it.
    """
    own = read_preprocessing(directory)
    if own is None or of_data is None:
        return
    theirs, ours = of_data.record(), own.record()
    different = [name for name in ours if ours[name] != theirs[name]]
    if different:
        words = ', '.join(f'{name}={theirs[name]!r}, not {ours[name]!r}' for name in different)
        raise ValueError(
            f'model={str(directory)!r}: the data were prepared with {words}, which it was'
            f' trained with; {remedy}'
        )

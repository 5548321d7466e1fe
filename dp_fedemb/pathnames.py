"""Pathnames that people give: what cannot be one, and whether it can be written there."""

import os
import pathlib
import secrets

from dp_fedemb import drafts

# Of a name and of a path, in bytes, with room for what stands below it.
_MOST_NAME, _MOST_PATH = 255, 3500
# Of what is written, beside which there are drafts of longer names.
_MOST_WRITTEN = _MOST_NAME - len(f'.{drafts.MARK}old-') - 8
# By which a directory is a SavedModel.
_OF_A_MODEL = 'saved_model.pb'


def local(path: drafts.PathLike, name: str) -> str:
    """Returns a path with the home of a user in the place of its ~.

    Args:
        path: of this machine.
        name: what messages call it.

    Raises:
        ValueError: for a user that is not there, an address of the web, what looks like a
            flag, or is too long.
    """
    text = os.fspath(path)
    if text.startswith('-'):
        raise ValueError(
            f'{name}={text!r}: looks like another flag; expected a path, for a name that'
            f' begins so ./{text}'
        )
    found = os.path.expanduser(text)
    longest = max(len(os.fsencode(part)) for part in found.split(os.sep))
    if longest > _MOST_NAME or len(os.fsencode(found)) > _MOST_PATH:
        raise ValueError(
            f'{name}={text[:40] + "..."!r}: {len(text)} characters; expected at most'
            f' {_MOST_NAME} bytes for each name and {_MOST_PATH} for all'
        )
    if found.startswith('~'):
        user = found.partition(os.sep)[0]
        raise ValueError(
            f'{name}={text!r}: no such user {user!r}; for a name that begins so write ./{user}'
        )
    if '://' in found:
        raise ValueError(
            f'{name}={text!r}: is an address; expected a path of this machine, so mount it or'
            ' copy it here'
        )
    return found


def check_file(path: drafts.PathLike, name: str = 'path') -> None:
    """Refuses a path where no file can be written, or would replace what is none.

    Args:
        path: of the file.
        name: what messages call it.

    Raises:
        FileExistsError: if something else is there.
        ValueError: for a name that leaves no room for that of a draft.
    """
    _check_length(path, name)
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileExistsError(
            f'{name}={os.fspath(path)!r}: is a directory, a pipe or a device; choose the name'
            ' of a file, or move it away'
        )


def check_place(**directories: drafts.PathLike) -> None:
    """Raises an error for the first keyword where nothing could be written; leaves nothing.

    Args:
        **directories: paths, by what messages call them, of directories to write to, which
            need not exist.

    Raises:
        OSError: if the system refuses it.
        ValueError: see `local`, and for a name that leaves no room for that of a draft, or a
            place within a SavedModel, where the next one would be without it.
    """
    for name, directory in directories.items():
        place = path = pathlib.Path(local(directory, name)).absolute()
        _check_length(path, name)
        resolved = path.resolve()
        for model in (resolved, *resolved.parents):
            if os.path.exists(model / _OF_A_MODEL):
                raise ValueError(
                    f'{name}={str(path)!r}: lies in the model {str(model)!r}, which is replaced'
                    ' as a whole; choose a place beside it'
                )
        try:
            while not _exists(place):
                place = place.parent
            trial = place / f'.{drafts.MARK}{secrets.token_hex(4)}'
            trial.mkdir()
            trial.rmdir()
        except OSError as error:
            raise type(error)(
                f'{name}={str(path)!r}: {place} cannot be written to ({error.strerror});'
                ' choose another path'
            ) from None


def check_apart(pictures: drafts.PathLike, **outputs: drafts.PathLike) -> None:
    """Refuses to write pictures, or links to some, where they would join those that are read.

    Args:
        pictures: the folder that is read.
        **outputs: paths, by what messages call them.

    Raises:
        ValueError: for the first that lies in the folder, by whichever of its names.
    """
    for name, output in outputs.items():
        if pathlib.Path(output).resolve().is_relative_to(pathlib.Path(pictures).resolve()):
            raise ValueError(
                f'{name}={os.fspath(output)!r}: lies in {os.fspath(pictures)!r}, whose pictures'
                ' those that are written would join the next time; choose a place beside it'
            )


def _check_length(path: drafts.PathLike, name: str) -> None:
    found = os.path.basename(path)
    length = len(os.fsencode(found))
    if length > _MOST_WRITTEN:
        raise ValueError(
            f'{name}={found[:40] + "..."!r}: a name of {length} bytes; expected at most'
            f' {_MOST_WRITTEN}, since drafts with longer names stand beside it'
        )


def _exists(path: pathlib.Path) -> bool:
    """Whether anything is there; an error where nothing can be, for instance a long name."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True

"""Files and directories that appear whole or not at all, and stay after a crash.

Everything is written beside its place, flushed to the disk and then renamed, and the
rename is flushed too. What a killed writer left is told from what a living one is
writing by a lock that the system drops with its process, in whichever container; a
process number would name somebody else there.
"""

from collections.abc import Iterator
import contextlib
import ctypes
import fcntl
import os
import pathlib
import secrets
import shutil
from typing import Union

PathLike = Union[str, 'os.PathLike[str]']
_MARK = '.partial-'
# Of a directory that does not carry its lock yet.
_UNNAMED = '.new-draft'
# renameat2(2).
_LIBC = ctypes.CDLL(None, use_errno=True)
_HERE, _EXCHANGE = -100, 2


def write_text(path: PathLike, text: str, mode: int = 0o644) -> None:
    """Writes a file of UTF-8 text in one step."""
    write_bytes(path, text.encode('utf-8', 'surrogateescape'), mode)


def write_bytes(path: PathLike, content: bytes, mode: int = 0o644) -> None:
    """Writes a file in one step.

    Args:
        path: where; what is there is replaced.
        content: all of it.
        mode: permissions; 0o600 for secrets.
    """
    with appearing_file(path, mode) as draft:
        draft.write_bytes(content)


@contextlib.contextmanager
def appearing_file(path: PathLike, mode: int = 0o644) -> Iterator[pathlib.Path]:
    """Gives the path of a draft that replaces `path` when the block ends well.

    The draft exists, empty and with its permissions, so that a secret is never readable
    by others, not even while it is written. On an error the draft is removed and what
    stood at `path` is untouched.
    """
    path = pathlib.Path(path).absolute()
    draft = path.with_name(f'.{path.name}{_MARK}{secrets.token_hex(4)}')
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield draft
        os.chmod(draft, mode)
        sync(draft)
        os.replace(draft, path)
        sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def appearing_directory(
    path: PathLike, *, replace: bool = False, mode: int = 0o755
) -> Iterator[pathlib.Path]:
    """Gives an empty draft directory that becomes `path` when the block ends well.

    Args:
        path: where; its parents are made.
        replace: whether a directory at `path` is replaced.
        mode: permissions.

    Raises:
        FileExistsError: if there is something at `path` and `replace` is off, at the
            start or, where another process was faster, at the end.
    """
    path = pathlib.Path(path).absolute()
    if not replace and path.exists():
        raise FileExistsError(f'{path}: exists already; delete it to make it again')
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path)
    draft, lock = _locked_draft(path, mode)
    try:
        yield draft
        sync_tree(draft)
        if replace:
            _exchange(draft, path)
        else:
            _rename_new(draft, path)
        sync(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(lock)


def check_place(**directories: PathLike) -> None:
    """Raises OSError for the first keyword where nothing could be written; leaves nothing.

    Args:
        **directories: paths, by what messages call them, of directories to write to, which
            need not exist.
    """
    for name, directory in directories.items():
        place = path = pathlib.Path(directory).expanduser().absolute()
        try:
            while not _exists(place):
                place = place.parent
            trial = place / f'.{secrets.token_hex(4)}{_UNNAMED}'
            trial.mkdir()
            trial.rmdir()
        except OSError as error:
            raise type(error)(
                f'{name}={str(path)!r}: {place} cannot be written to ({error.strerror});'
                ' choose another path'
            ) from None


def _exists(path: pathlib.Path) -> bool:
    """Whether anything is there; an error where nothing can be, for instance a long name."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def remove_abandoned(path: PathLike) -> list[str]:
    """Removes drafts of `path` whose writer is gone; returns their names."""
    path = pathlib.Path(path).absolute()
    removed = []
    for draft in path.parent.glob(f'.{path.name}{_MARK}*'):
        if draft.is_dir() and not _is_being_written(draft):
            shutil.rmtree(draft, ignore_errors=True)
            removed.append(draft.name)
    return removed


def is_draft(path: PathLike) -> bool:
    """Whether a name is that of a draft, of a file or of a directory."""
    name = os.path.basename(path)
    return name.startswith('.') and (_MARK in name or name.endswith(_UNNAMED))


def remove_drafts(folder: PathLike) -> None:
    """Removes all drafts in a folder that only the caller writes to."""
    folder = pathlib.Path(folder)
    for path in folder.iterdir() if folder.is_dir() else ():
        if not is_draft(path):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sync(path: PathLike) -> None:
    """Flushes a file, or the names in a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: PathLike) -> None:
    """Flushes a directory with everything below it."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            sync(os.path.join(folder, name))
        sync(folder)


def _locked_draft(path: pathlib.Path, mode: int) -> tuple[pathlib.Path, int]:
    """Makes a draft that carries a lock for as long as it has its name."""
    token = secrets.token_hex(4)
    unnamed = path.with_name(f'.{token}{_UNNAMED}')
    unnamed.mkdir(mode)
    lock = os.open(unnamed, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    draft = path.with_name(f'.{path.name}{_MARK}{token}')
    unnamed.rename(draft)
    return draft, lock


def _is_being_written(draft: pathlib.Path) -> bool:
    try:
        descriptor = os.open(draft, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _rename_new(draft: pathlib.Path, path: pathlib.Path) -> None:
    try:
        # Renaming a directory onto another one fails unless that is empty.
        os.rename(draft, path)
    except OSError:
        if path.exists():
            raise FileExistsError(f'{path}: was made by another process meanwhile') from None
        raise


def _exchange(draft: pathlib.Path, path: pathlib.Path) -> None:
    """Puts `draft` in the place of `path`, whose old content goes; readers see one or both."""
    if not path.exists():
        os.rename(draft, path)
    elif _LIBC.renameat2(_HERE, bytes(draft), _HERE, bytes(path), _EXCHANGE) == 0:
        shutil.rmtree(draft, ignore_errors=True)
    else:
        # A file system without it: for a moment there is nothing at `path`.
        old = path.with_name(f'.{path.name}.old-{secrets.token_hex(4)}')
        os.rename(path, old)
        os.rename(draft, path)
        shutil.rmtree(old, ignore_errors=True)

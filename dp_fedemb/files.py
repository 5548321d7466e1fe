"""Files and directories that appear whole or not at all, and stay after a crash.

Everything is written beside its place, flushed to the disk and then renamed, and the
rename is flushed too. What a killed writer left goes with the next write, see `drafts`.
"""

from collections.abc import Callable, Iterator
import contextlib
import ctypes
import errno
import fcntl
import os
import pathlib
import secrets
import stat
from typing import BinaryIO

from dp_fedemb import drafts
from dp_fedemb import pathnames

PathLike = drafts.PathLike
# renameat2(2).
_LIBC = ctypes.CDLL(None, use_errno=True)
_HERE, _EXCHANGE = -100, 2


class NoFileError(OSError, ValueError):
    """Where a file was expected there is a pipe, a device or a directory."""


def open_file(path: PathLike) -> BinaryIO:
    """Opens a file to read.

    Raises:
        NoFileError: for a pipe, which may never have an end, a device or a directory.
        OSError: if it is not there, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoFileError(
            f'{os.fspath(path)}: is no file, but a pipe, a device or a folder; restore the'
            ' file, or move this away'
        )
    return open(descriptor, 'rb')


def read_bytes(path: PathLike) -> bytes:
    """Returns what is in a file; raises as `open_file` does."""
    with open_file(path) as file:
        return file.read()


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

    The draft exists, empty and with its permissions, of which the umask takes away, so that
    a secret is never readable by others, not even while it is written. On an error the
    draft is removed and what stood at `path` is untouched. What a killed writer of `path`
    left is removed.

    Raises:
        FileExistsError: if what stands there is no file: a directory, a pipe or a device,
            which would be lost to everybody.
    """
    path = pathlib.Path(path).absolute()
    pathnames.check_file(path)
    drafts.remove_abandoned(path)
    draft, lock = drafts.locked(path, lambda draft: _make_file(draft, mode))
    made = stat.S_IMODE(os.fstat(lock).st_mode)
    try:
        yield draft
        os.chmod(draft, made)
        sync(draft)
        os.replace(draft, path)
        sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)
        os.close(lock)


@contextlib.contextmanager
def appearing_directory(
    path: PathLike, *, replace: bool = False, mode: int = 0o755, parents: bool = True
) -> Iterator[pathlib.Path]:
    """Gives an empty draft directory that becomes `path` when the block ends well.

    Args:
        path: where.
        replace: whether a directory at `path` is replaced.
        mode: permissions.
        parents: whether what is missing above it is made.

    Raises:
        FileExistsError: if there is something at `path` and `replace` is off, at the
            start or, where another process was faster, at the end.
        FileNotFoundError: if the draft went while it was written, with what is above it.
    """
    path = pathlib.Path(path).absolute()
    if not replace and path.exists():
        raise FileExistsError(f'{path}: exists already; delete it to make it again')
    if parents:
        make_directory(path.parent)
    with _directory_draft(path, mode) as (draft, lock):
        yield draft
        # Some libraries make again what is missing above their files.
        if not drafts.is_at(lock, draft):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(draft))
        _close_to_writers(draft)
        sync_tree(draft)
        if replace:
            _exchange(draft, path)
        else:
            _rename_new(draft, path)
        sync(path.parent)


@contextlib.contextmanager
def appearing_files(folder: PathLike) -> Iterator[pathlib.Path]:
    """Gives an empty draft directory whose files move into `folder` when the block ends well.

    Each replaces its namesake in one step, in the order of their names; the other files of
    the folder stay. A kill in between leaves whole files, some of them old.
    """
    folder = pathlib.Path(folder).absolute()
    make_directory(folder.parent)
    with _directory_draft(folder, 0o755) as (draft, _):
        yield draft
        _close_to_writers(draft)
        sync_tree(draft)
        make_directory(folder)
        for name in sorted(os.listdir(draft)):
            os.replace(draft / name, folder / name)
        sync(folder)


@contextlib.contextmanager
def lock(path: PathLike, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Waits until no other process holds the lock of this path, and keeps it for the block.

    The system drops it with the process, and processes in other containers respect it.

    Args:
        path: what is locked; need not exist.
        on_wait: called where the lock is not free at once.
    """
    path = pathlib.Path(path).absolute()
    make_directory(path.parent)
    name = path.with_name(f'.{path.name}{drafts.MARK}lock')
    while True:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if drafts.is_at(descriptor, name):
            break
        # Whoever had it has removed it meanwhile.
        os.close(descriptor)
    try:
        yield
    finally:
        name.unlink(missing_ok=True)
        os.close(descriptor)


def make_directory(path: PathLike, mode: int = 0o755, *, parents: bool = True) -> None:
    """Makes a directory unless it is there; durable.

    Args:
        path: where.
        mode: permissions.
        parents: whether to make what is missing above it, too. Not where somebody may have
            moved that away, whose return would be blocked.
    """
    path = pathlib.Path(path).absolute()
    if path.is_dir():
        return
    if parents:
        make_directory(path.parent)
    path.mkdir(mode, exist_ok=True)
    sync(path.parent)


def make_private_directory(path: PathLike, *, parents: bool = True) -> None:
    """Makes a directory for its owner alone, and closes one that is there to all others.

    Args:
        path: where.
        parents: as in `make_directory`.
    """
    make_directory(path, 0o700, parents=parents)
    os.chmod(path, 0o700)


def sync(path: PathLike) -> None:
    """Flushes a file, or the names in a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: PathLike) -> None:
    """Flushes a directory with everything below it; links, and not what they lead to."""
    for folder, _, names in os.walk(root, topdown=False):
        for path in (os.path.join(folder, name) for name in names):
            # Which may be gone, or a pipe that nobody writes to.
            if not os.path.islink(path):
                sync(path)
        sync(folder)


def _close_to_writers(root: pathlib.Path) -> None:
    """Lets nobody but the owner change what is below; others wrote it by the umask alone."""
    for path in root.rglob('*'):
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o022)


def _make_file(path: pathlib.Path, mode: int) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))


@contextlib.contextmanager
def _directory_draft(path: pathlib.Path, mode: int) -> Iterator[tuple[pathlib.Path, int]]:
    """Gives a draft and its lock."""
    drafts.remove_abandoned(path)
    draft, lock = drafts.locked(path, lambda draft: draft.mkdir(mode))
    try:
        yield draft, lock
    finally:
        drafts.remove(draft)
        os.close(lock)


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
        drafts.remove(draft)
    else:
        # A file system without it: for a moment there is nothing at `path`.
        old = path.with_name(f'.{path.name}{drafts.MARK}old-{secrets.token_hex(4)}')
        os.rename(path, old)
        os.rename(draft, path)
        drafts.remove(old)

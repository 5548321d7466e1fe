"""Drafts: what stands beside a path until it is whole and takes its place.

What a killed writer left is told from what a living one is writing by a lock that the
system drops with its process, in whichever container; a process number would name somebody
else there.
"""

from collections.abc import Callable
import contextlib
import fcntl
import os
import pathlib
import secrets
import shutil
from typing import Union

PathLike = Union[str, 'os.PathLike[str]']
MARK = '.partial-'


def locked(
    path: pathlib.Path, make: Callable[[pathlib.Path], None]
) -> tuple[pathlib.Path, int]:
    """Makes a draft and locks it.

    Args:
        path: beside which it stands.
        make: makes it, empty.

    Returns:
        The draft, and the open descriptor that holds its lock.
    """
    while True:
        draft = path.with_name(f'.{path.name}{MARK}{secrets.token_hex(4)}')
        make(draft)
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(draft, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if is_at(descriptor, draft):
                return draft, descriptor
            # Before it was locked, somebody took it for abandoned.
            os.close(descriptor)


def is_at(descriptor: int, path: pathlib.Path) -> bool:
    """Whether a path still leads to what is open."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def remove(path: pathlib.Path) -> None:
    """Removes a file, a link or a directory with all below it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_abandoned(path: PathLike) -> list[str]:
    """Removes drafts of `path` whose writer is gone; returns their names."""
    path = pathlib.Path(path).absolute()
    removed = []
    with os.scandir(path.parent) as entries:
        names = [e.name for e in entries if e.name.startswith(f'.{path.name}{MARK}')]
    for name in names:
        draft = path.with_name(name)
        try:
            descriptor = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            # Its writer holds this lock, and looks whether the draft is there once it does.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(draft)
            removed.append(name)
        except OSError:
            # A living writer's, or in a directory that is not ours to write to.
            pass
        finally:
            os.close(descriptor)
    return removed


def is_draft(path: PathLike) -> bool:
    """Whether a name is that of a draft, of a file or of a directory."""
    name = os.path.basename(path)
    return name.startswith('.') and MARK in name


def remove_all(folder: PathLike) -> None:
    """Removes all drafts in a folder that only the caller writes to."""
    folder = pathlib.Path(folder)
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_draft(path):
            remove(path)

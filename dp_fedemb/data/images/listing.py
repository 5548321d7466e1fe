"""The pictures of a folder: one list for every task and program.

What is not on the list is counted by reason, so that nothing is left out in silence.
"""

import collections
from collections.abc import Iterator, Mapping
import dataclasses
import errno
import os
import pathlib
import re
import stat
from typing import Union

from dp_fedemb.data import names as names_lib
from dp_fedemb.data.images import formats

# What operating systems, file servers and photo programs leave among pictures.
_LEFT_BEHIND = re.compile(
    r"""
    \._.* | \.DS_Store | Icon\r | __MACOSX | \.AppleDouble | \.Trash(es|-\d+)?
    | \.Spotlight-V100 | \.fseventsd | \.TemporaryItems | Network\ Trash\ Folder
    | Thumbs\.db | ehthumbs(_vista)?\.db | desktop\.ini | \$RECYCLE\.BIN | RECYCLER
    | System\ Volume\ Information | lost\+found | ~\$.* | .*~
    | @eaDir | \#recycle | \#snapshot | @Recycle | @Recently-Snapshot | \.@__thumb
    | @tmp | SYNO(FILE|PHOTO|INDEX).* | \.thumbnails? | \.thumb(nail)?s?
    | \.?Picasa(Originals|\.ini)? | \.?picasaoriginals | \.dtrash | .*\.lrdata
    | \.comments | ZbThumbnail\.info | \.pics | \.xvpics | CaptureOne
    """,
    re.VERBOSE | re.IGNORECASE,
)
# Links to folders below links to folders: a chain that doubles with each would be endless.
_LINKS_DEEP = 3
_SHOWN = 3
# Errors of the system for what cannot be a picture, and why.
_NOWHERE = {
    errno.ELOOP: 'links in a circle',
    errno.ENOENT: 'links that lead nowhere',
    errno.ENOTDIR: 'links that lead nowhere',
    errno.ENAMETOOLONG: 'in more folders than the system can reach',
}


@dataclasses.dataclass(frozen=True)
class Listing:
    """The pictures in a folder and below.

    Attributes:
        root: the folder.
        names: of the pictures, relative to it, in order.
        folders: directly in it, empty ones and links to folders among them, in order.
        left_out: what is not a picture or cannot be one, by reason, relative to `root`;
            of a folder that is left out nothing below it is looked at.
        same_files: names of pictures that are another one's file (by links) and lie in
            another folder of the first level than that.
    """

    root: pathlib.Path
    names: tuple[str, ...]
    folders: tuple[str, ...]
    left_out: Mapping[str, tuple[str, ...]]
    same_files: tuple[str, ...] = ()

    @property
    def paths(self) -> list[pathlib.Path]:
        """Where the pictures are."""
        return [self.root / name for name in self.names]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out, a line for each reason; none where nothing is."""
        lines = [
            f'{len(names):,} left out: {reason} ({names_lib.shortened(names, _SHOWN)})'
            for reason, names in sorted(self.left_out.items())
        ]
        if self.same_files:
            shown = names_lib.shortened(self.same_files, _SHOWN)
            lines.append(
                f'{len(self.same_files):,} pictures are the same file as one in another'
                f' folder, by links ({shown})'
            )
        return tuple(lines)


def pictures(root: Union[str, 'os.PathLike[str]'], argument: str = '') -> Listing:
    """Lists the pictures in a folder and below.

    Links are followed, to pictures and to folders. Hidden files and folders, and what
    systems and photo programs leave behind, are not looked at; nothing is opened.

    Args:
        root: the folder.
        argument: whose value it is, for messages.

    Raises:
        FileNotFoundError: if there is no such folder, or no picture.
        PermissionError: naming the folders that may not be read: whoever owns what is in
            them would be missing.
    """
    root = pathlib.Path(root)
    called = f'{argument}={str(root)!r}' if argument else names_lib.printable(str(root))
    if not root.is_dir():
        raise FileNotFoundError(f'{called}: no such directory')
    found = _Walk(root)
    if found.closed:
        raise PermissionError(
            f'{called}: no permission to read {len(found.closed):,} of its folders'
            f' ({names_lib.shortened(sorted(found.closed))}); allow it, or move them away'
        )
    left_out = {reason: tuple(sorted(names)) for reason, names in found.left_out.items()}
    listing = Listing(
        root,
        tuple(sorted(found.names, key=_in_order)),
        tuple(sorted(found.folders)),
        left_out,
        tuple(sorted(found.same_files, key=_in_order)),
    )
    if not listing.names:
        notes = ''.join(f'; {note}' for note in listing.notes)
        raise FileNotFoundError(
            f'{called}: no picture in it or below (expected files named'
            f' {", ".join(sorted(formats.suffixes()))}){notes}'
        )
    return listing


def is_left_behind(name: str) -> bool:
    """Whether a file or folder of this name is none of the owner's.

    >>> is_left_behind('._photo.jpg'), is_left_behind('.hidden'), is_left_behind('photo.jpg')
    (True, True, False)
    """
    return name.startswith('.') or _LEFT_BEHIND.fullmatch(name) is not None


def _in_order(name: str) -> list[str]:
    return name.split(os.sep)


class _Walk:
    """Goes through a folder without recursion, which a deep one would exhaust."""

    def __init__(self, root: pathlib.Path) -> None:
        self.names: list[str] = []
        self.folders: list[str] = []
        self.closed: list[str] = []
        self.same_files: list[str] = []
        self.left_out: dict[str, list[str]] = collections.defaultdict(list)
        self._first: dict[tuple[int, int], str] = {}
        # Folder, the identities of the folders around it, and links to folders so far.
        status = os.stat(root)
        self._waiting: list[tuple[pathlib.Path, str, tuple[tuple[int, int], ...], int]] = []
        self._waiting.append((root, '', ((status.st_dev, status.st_ino),), 0))
        while self._waiting:
            path, prefix, around, links = self._waiting.pop()
            for entry in self._entries(path, prefix):
                self._take(entry, os.path.join(prefix, entry.name), around, links)

    def _entries(self, path: pathlib.Path, prefix: str) -> Iterator['os.DirEntry[str]']:
        try:
            with os.scandir(path) as entries:
                yield from entries
        except PermissionError:
            self.closed.append(prefix or '.')

    def _take(
        self,
        entry: 'os.DirEntry[str]',
        name: str,
        around: tuple[tuple[int, int], ...],
        links: int,
    ) -> None:
        if _LEFT_BEHIND.fullmatch(entry.name):
            self.left_out['left behind by a system or a photo program'].append(name)
            return
        if entry.name.startswith('.'):
            self.left_out['hidden'].append(name)
            return
        try:
            status = entry.stat()
        except PermissionError:
            self.closed.append(name)
            return
        except OSError as error:
            # Anything else, as a disk that does not answer, would lose what is there.
            if error.errno not in _NOWHERE:
                raise
            self.left_out[_NOWHERE[error.errno]].append(name)
            return
        identity = status.st_dev, status.st_ino
        if stat.S_ISDIR(status.st_mode):
            links += entry.is_symlink()
            if identity in around:
                self.left_out['links in a circle'].append(name)
            elif links > _LINKS_DEEP:
                self.left_out[f'links to folders behind {_LINKS_DEEP} others'].append(name)
            else:
                self._waiting.append(
                    (pathlib.Path(entry.path), name, (*around, identity), links)
                )
                if os.sep not in name:
                    self.folders.append(name)
        elif not stat.S_ISREG(status.st_mode):
            self.left_out['pipes, sockets and devices'].append(name)
        else:
            self._take_file(name, identity)

    def _take_file(self, name: str, identity: tuple[int, int]) -> None:
        suffix = os.path.splitext(name)[1].lower()
        if suffix in formats.suffixes():
            self.names.append(name)
            # Whoever holds a picture twice is one user all the same.
            first = self._first.setdefault(identity, name)
            if first.split(os.sep)[0] != name.split(os.sep)[0]:
                self.same_files.append(name)
            return
        remedy = formats.remedy(suffix)
        kind = names_lib.printable(suffix) or 'no suffix'
        if remedy:
            self.left_out[f'pictures that cannot be read here, {kind}: {remedy}'].append(name)
        else:
            self.left_out['not named as a picture'].append(name)

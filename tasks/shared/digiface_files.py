"""The official archives of DigiFace-1M: `subjects_A-B_N_imgs.zip` with `subject/k.png`."""

import collections
from collections.abc import Iterator
import pathlib
import re
import zipfile

from tasks.shared import base
from tasks.shared import tfds_archives

_BASE = 'https://facesyntheticspubwedata.blob.core.windows.net/wacv-2023'
ARCHIVES = {
    '72': tuple(f'subjects_{a}-{a + 1999}_72_imgs.zip' for a in range(0, 10_000, 2_000)),
    '5': tuple(f'subjects_{a}-{a + 33_332}_5_imgs.zip' for a in (100_000, 133_333, 166_666)),
}
# Subjects and images. The names of the archives add up to these; the paper rounds the
# second to 100K subjects and 500K images.
PUBLISHED = {'72': (10_000, 720_000), '5': (99_999, 499_995)}
_MEMBER = re.compile(r'(?:.*/)?([0-9]{1,9})/([0-9]{1,9})\.png')


def where(subset: str) -> str:
    """Says what to get for a subset, and where."""
    return f'{", ".join(ARCHIVES[subset])} from {_BASE}/'


def find(directory: pathlib.Path, subset: str, partial: bool, task: str) -> list[pathlib.Path]:
    """Returns the archives of a subset.

    Args:
        directory: with the archives.
        subset: '72' or '5' images of each subject.
        partial: whether some of them will do.
        task: name of the task, for the message.

    Raises:
        FileNotFoundError: for missing archives; the message names them all.
    """
    paths = [directory / name for name in ARCHIVES[subset]]
    there = [path for path in paths if path.is_file()]
    if not partial or not there:
        base.require_files(paths, task, where(subset))
    return there


def open_archive(path: pathlib.Path, subset: str) -> zipfile.ZipFile:
    """Opens an archive.

    Raises:
        ValueError: if it is no zip archive, or cut, or has an image twice.
    """
    try:
        archive = zipfile.ZipFile(path)
    # Its index can be damaged in any way.
    except Exception as error:
        raise tfds_archives.damaged(path, error, where(subset)) from None
    for entry in archive.infolist():
        tfds_archives.member(path, entry.filename, entry.file_size, where(subset))
    images = collections.Counter((subject, image) for subject, image, _ in members(archive))
    if max(images.values(), default=1) > 1:
        subject, image = images.most_common(1)[0][0]
        raise tfds_archives.damaged(
            path, f'{subject}/{image}.png is there twice', where(subset)
        )
    return archive


def members(archive: zipfile.ZipFile) -> Iterator[tuple[str, int, str]]:
    """Yields (subject, number of the image, member), subject by subject."""
    found = []
    for name in archive.namelist():
        match = _MEMBER.fullmatch(name)
        if match:
            found.append((int(match[1]), int(match[2]), name))
    for subject, image, name in sorted(found):
        yield str(subject), image, name

"""A list of users' photos (CSV), and the photos in folders or tar archives."""

import collections
import contextlib
import csv
import functools
import itertools
import pathlib
import zipfile

from dp_fedemb.data import cache
from dp_fedemb.data import lists
from dp_fedemb.data import names as names_lib
from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import listing as listing_lib
from tasks.shared import tar_archives
from tasks.shared import tfds_archives


class ListedPhotos:
    """The photos of a list; a `tff_photos.Source`."""

    def __init__(self, data_dir, checksum, rows, folders, archives, where):
        """Names the files.

        Args:
            data_dir: directory of all of them.
            checksum: of the list.
            rows: image -> list of (user, class), of `read`.
            folders: directories with photos.
            archives: tar archives with photos.
            where: to get them, for messages.
        """
        self._data_dir = data_dir
        self._checksum = checksum
        self._rows = rows
        self._folders = folders
        self._archives = archives
        self._where = where

    def fingerprint(self):
        files = [*self._archives, *self._photos_in_folders.values()]
        return [self._checksum, cache.listing_fingerprint(self._data_dir, files)]

    def counts(self):
        return collections.Counter(itertools.chain.from_iterable(self._rows.values()))

    def examples(self, part):
        wanted = {}
        for image, owners in self._rows.items():
            kept = [(part(*owner), *owner) for owner in owners]
            if kept := [names for names in kept if names[0] is not None]:
                wanted[image] = kept
        for image, path in self._photos_in_folders.items():
            for names in wanted.pop(image, ()):
                yield conversion.Example(*names, path, image)
        for archive in self._archives if wanted else ():
            yield from self._from_archive(archive, wanted)
        for image, owners in wanted.items():
            for names in owners:
                yield conversion.Example(*names, functools.partial(_missing, image), image)

    def _from_archive(self, path, wanted):
        def image_of(name):
            return pathlib.PurePosixPath(name).stem

        def is_wanted(name):
            return image_of(name) in wanted

        for name, photo in tar_archives.read(path, is_wanted, self._where):
            for names in wanted.pop(image_of(name)):
                yield conversion.Example(*names, photo, image_of(name))

    @functools.cached_property
    def _photos_in_folders(self):
        found = {}
        for folder in self._folders:
            # All of them may be in archives.
            with contextlib.suppress(FileNotFoundError):
                for path in listing_lib.pictures(folder).paths:
                    if path.stem in self._rows:
                        if path.stem in found:
                            raise ValueError(
                                f'{path}: image {path.stem} is there twice, also as'
                                f' {found[path.stem]}; keep one'
                            )
                        found[path.stem] = path
        return dict(sorted(found.items()))


def _missing(image):
    raise FileNotFoundError(f'{image} is in the list, but not among the photos')


def file_of(path: pathlib.Path) -> pathlib.Path:
    """The file that holds a list: the list itself, or the zip around it."""
    return path.parent if path.parent.suffix == '.zip' else path


def read(
    path: pathlib.Path, columns: tuple[str, str, str], where: str
) -> dict[str, list[tuple[str, str]]]:
    """Returns whose image each is and what it shows: image -> list of (user, class).

    An image that several users list is in the data of each: did one of them alone have
    it, another's leaving would give it to the next.

    Args:
        path: of the list, 'archive.zip/member' for one inside a zip.
        columns: user, image, class.
        where: to get the list, for messages.

    Raises:
        ValueError: for a damaged list, or one that lacks a column or has one twice.
    """
    user_column, image_column, class_column = columns
    rows = collections.defaultdict(list)
    lines = _lines(path, where)
    with _whole(path, where):
        # Strict: a quote that is never closed would swallow the rows behind it in silence.
        reader = csv.DictReader((f'{line}\n' for line in lines), strict=True)
        lacking = set(columns) - set(reader.fieldnames or ())
        if lacking:
            raise ValueError(
                f'{path}: lacks the column(s) {", ".join(sorted(lacking))}; get {where}'
            )
        twice = [name for name in columns if (reader.fieldnames or []).count(name) > 1]
        if twice:
            raise ValueError(f'{path}: has two columns {twice[0]}; get {where}')
        for row in reader:
            # The species lists give 'NA' to photos outside a split.
            values = [row[column] for column in columns]
            if not all(values) or '\n' in ''.join(values):
                raise ValueError(
                    f'{path}:{reader.line_num}: a row without all of'
                    f' {", ".join(columns)}; get {where}'
                )
            owner = names_lib.normal(row[user_column]), names_lib.normal(row[class_column])
            if owner[0] != 'NA' and owner not in rows[row[image_column]]:
                rows[row[image_column]].append(owner)
    return {image: owners for image, owners in rows.items() if owners}


@contextlib.contextmanager
def _whole(path, where):
    try:
        yield
    except csv.Error as error:
        raise tfds_archives.damaged(path, error, where) from None


def _lines(path, where):
    archive = file_of(path)
    if archive == path:
        return lists.read_lines(path)
    try:
        with zipfile.ZipFile(archive) as file:
            (member,) = (n for n in file.namelist() if n.split('/')[-1] == path.name)
            tfds_archives.check_unpacked(archive, file.getinfo(member).file_size, where)
            return lists.lines_of(file.read(member), path)
    except (*tfds_archives.READ_ERRORS, ValueError) as error:
        raise tfds_archives.damaged(archive, error, where) from None

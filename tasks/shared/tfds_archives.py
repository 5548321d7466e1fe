"""Preparing a TFDS data set from archives that are already on the disk."""

from collections.abc import Mapping
from concurrent import futures
import contextlib
import io
import lzma
import os
import pathlib
import tarfile
import tempfile
import zipfile
import zlib

from dp_fedemb import environment
from dp_fedemb import host_error
from tasks.shared import tar_members

# The largest picture in an archive.
MEMBER_BYTES = 1 << 29
# What archives raise when they are read and damaged.
READ_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
)
# What an archive may unpack to, over its own size.
_FREE_BYTES, _MOST_RATIO = 1 << 28, 100


def check_zip(path: pathlib.Path, where: str) -> None:
    """Reads a whole zip archive and compares the checksums of its members.

    Raises:
        ValueError: if it is not a zip or a member fails its checksum.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    # zlib errors surface as such, not as BadZipFile.
    except Exception as error:
        raise damaged(path, error, where) from None
    if broken:
        raise damaged(path, f'member {broken}', where)


def damaged(path: pathlib.Path, reason: object, where: str) -> Exception:
    """Returns the error for an archive that cannot be read to its end.

    That is the reason itself where it is an error of the system.
    """
    if isinstance(reason, Exception) and host_error.of_the_host(reason):
        return reason
    reason = ' '.join(str(reason).split()) or type(reason).__name__
    return ValueError(f'{path}: damaged ({reason}); fetch it again: {where}')


def check_unpacked(path: pathlib.Path, size: int, where: str) -> None:
    """Stops the unpacking of a bomb, which would fill the disk or the memory.

    Args:
        path: the archive.
        size: bytes that came, or will come, out of it.
        where: to get the archive, for the message.

    Raises:
        ValueError: for many times more than pictures or databases are packed.
    """
    if size > _FREE_BYTES + _MOST_RATIO * path.stat().st_size:
        raise damaged(path, f'it unpacks to {size:,} bytes or more', where)


def member(path: pathlib.Path, name: str, size: int, where: str) -> None:
    """Raises ValueError for a member of an archive that is too large for a picture."""
    if size > MEMBER_BYTES:
        raise damaged(path, f'{name}: {size:,} bytes', where)


def builder_from_archives(
    name: str, archives: pathlib.Path, data_dir: pathlib.Path, where: str
):
    """Prepares a TFDS data set offline, unless it is prepared already.

    The official builder does the work; only its download manager is replaced by one
    that unpacks files from `archives`. TFDS compares downloads with the checksums of
    the release it knows. Archives are given here by the user, who may have packed
    them again, so the caller checks what is in them instead.

    Args:
        name: of the data set in TFDS.
        archives: directory with the archives under their official file names.
        data_dir: where the prepared data set goes.
        where: where to get the archives, for messages.

    Returns:
        The `tfds.core.DatasetBuilder`, prepared.

    Raises:
        ValueError: if an archive cannot be unpacked.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=os.fspath(data_dir))
    if builder.is_prepared():
        return builder
    official = type(builder)
    files = {url: archives / info.filename for url, info in official.url_infos.items()}

    class Local(official, skip_registration=True):
        name = official.name

        def _split_generators(self, dl_manager):
            del dl_manager
            return super()._split_generators(_Unpacker(files, pathlib.Path(work), where))

    data_dir.mkdir(parents=True, exist_ok=True)
    unpacked = tempfile.TemporaryDirectory(prefix=f'.{name}-', dir=data_dir)
    try:
        # What TFDS prints speaks of downloads.
        with unpacked as work, contextlib.redirect_stdout(io.StringIO()):
            Local(data_dir=os.fspath(data_dir)).download_and_prepare(
                download_dir=work,
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            )
    except (AssertionError, KeyError, IndexError, UnicodeError) as error:
        raise ValueError(
            f'{archives}: TFDS finds other files than it expects of {name} ({error}); fetch'
            f' them again: {where}'
        ) from error
    return tfds.builder(name, data_dir=os.fspath(data_dir))


class _Unpacker:
    """The part of TFDS's download manager that unpacks, on local files."""

    def __init__(self, files: Mapping[str, pathlib.Path], work: pathlib.Path, where: str):
        self._files = files
        self._work = work
        self._where = where

    def download_and_extract(self, urls):
        """Returns one directory per URL, in the structure of `urls`."""
        if isinstance(urls, str):
            return self._unpack(urls)
        with futures.ThreadPoolExecutor(environment.usable_cores()) as pool:
            return dict(zip(urls, pool.map(self._unpack, urls.values())))

    def _unpack(self, url):
        path = self._files[url]
        directory = self._work / path.stem
        try:
            if path.suffix == '.zip':
                with zipfile.ZipFile(path) as archive:
                    total = sum(entry.file_size for entry in archive.infolist())
                    check_unpacked(path, total, self._where)
                    archive.extractall(directory)
            else:
                with tarfile.open(path, tarinfo=tar_members.Member) as archive:
                    total = 0
                    for entry in archive:
                        total += entry.size
                        check_unpacked(path, total, self._where)
                    archive.extractall(directory, filter='data')
        except Exception as error:
            raise damaged(path, error, self._where) from None
        return os.fspath(directory)

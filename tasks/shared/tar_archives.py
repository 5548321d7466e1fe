"""Pictures in tar archives, which are read once, as a stream."""

from collections.abc import Callable, Iterator
import pathlib
import tarfile

from tasks.shared import tar_members
from tasks.shared import tfds_archives


def read(
    path: pathlib.Path, wanted: Callable[[str], bool], where: str
) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of members in the order of an archive.

    As a stream: one of 100 GB has no index to look things up in.

    Args:
        path: the archive, packed in whichever way.
        wanted: name of a member -> whether it is yielded.
        where: to get the archive, for messages.

    Raises:
        ValueError: if it is damaged, or a member too large for a picture.
    """
    try:
        with tarfile.open(path, 'r|*', tarinfo=tar_members.Member) as archive:
            for member in archive:
                if member.isfile() and wanted(member.name):
                    if member.size > tfds_archives.MEMBER_BYTES:
                        raise tarfile.ReadError(f'{member.name}: {member.size:,} bytes')
                    yield member.name, archive.extractfile(member).read()
    # The last for what headers say in words and mean as numbers.
    except (*tfds_archives.READ_ERRORS, ValueError) as error:
        raise tfds_archives.damaged(path, error, where) from None

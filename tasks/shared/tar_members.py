"""Members of tar archives whose headers have an end."""

import tarfile

# Headers of members are read into the memory whole, and into those that hold names and more,
# a gigabyte fits, packed into a few megabytes; in one of digits tarfile looks at all from each.
_LONG = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_HEADER_BYTES = 1 << 14


class Member(tarfile.TarInfo):
    """A member of an archive, for `tarfile.open`; one with an endless header is damage."""

    @classmethod
    def frombuf(cls, *arguments: object) -> 'Member':
        """Reads a block; raises `tarfile.ReadError` for the header of none that is whole."""
        found = super().frombuf(*arguments)
        if found.size < 0 or (found.type in _LONG and found.size > _HEADER_BYTES):
            raise tarfile.ReadError(f'a header of {found.size:,} bytes')
        return found

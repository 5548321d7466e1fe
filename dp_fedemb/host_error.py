"""What has failed is the machine, and neither the input nor the code.

Binaries end with one line then, and a search of many runs ends with its first run that
met it, since the next ones would too and none of them tells anything of its settings.
"""

import errno
import os

# Faults of the system: another file would meet them too, or this one not tomorrow.
_OF_THE_HOST = (
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.ENOSPC),
    *(errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT),
)


class HostError(RuntimeError):
    """Its text says in one line what happened; the same command goes on later."""


def of_the_host(error: BaseException) -> bool:
    """Whether the system is at fault, and not a file that it was to read.

    Such a file is not damaged: whoever skips or replaces it would lose what is whole.
    """
    number = getattr(error, 'errno', None)
    if number is not None:
        return number in _OF_THE_HOST
    # TensorFlow has the system's words alone, also in errors of Python that it raises.
    told = isinstance(error, OSError) or type(error).__module__.startswith('tensorflow')
    return told and any(os.strerror(each) in str(error) for each in _OF_THE_HOST)

"""What to do where the machine, and not the input, is at fault."""

import errno
import os

from dp_fedemb import host_error

# Errors of the system, and what their reader can do.
_ADVICE = {
    errno.ENOSPC: 'free some space on the disk',
    errno.EDQUOT: 'free some of your quota on the disk',
    errno.EFBIG: 'raise the limit on the size of files (ulimit -f)',
    errno.EROFS: 'make the file system writable again',
    errno.EMFILE: 'raise the limit on open files (ulimit -n)',
    errno.ENFILE: 'close other programs, or raise the limit on open files of the system',
    errno.ENOMEM: 'free memory, or raise the limit on it (ulimit -v)',
    errno.EAGAIN: 'raise the limit on threads and processes (ulimit -u), or free memory',
    errno.EIO: 'check the disk',
    errno.ESTALE: 'mount the network disk again',
    errno.ENOTCONN: 'mount the network disk again',
    errno.ETIMEDOUT: 'see whether the network disk answers',
}
_NO_THREAD = "can't start new thread"


def trouble(error: BaseException) -> str | None:
    """Returns a line for an error of the machine, None for any other.

    What TensorFlow raises names the system's errors in its text alone.
    """
    if isinstance(error, host_error.HostError):
        text = str(error)
        if 'same command' in text:
            return text
        return f'{text}; run the same command again to go on from the last checkpoint'
    number = getattr(error, 'errno', None)
    text = str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == 'ResourceExhaustedError':
        number = errno.ENOMEM
    if isinstance(error, RuntimeError) and _NO_THREAD in text:
        number = errno.EAGAIN
    if type(error).__module__.startswith('tensorflow'):
        told = [each for each in _ADVICE if os.strerror(each) in text]
        number = told[0] if told else number
    if number not in _ADVICE:
        return None
    path = getattr(error, 'filename', None)
    place = '' if path is None else f'{os.fspath(path)}: '
    return f'{place}{os.strerror(number)}: {_ADVICE[number]}, then run the same command again'

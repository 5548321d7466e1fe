"""What to do where the machine, and not the input, is at fault."""

from collections.abc import Iterator
import contextlib
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
    errno.EPIPE: 'keep what reads the output alive, or send it to a file',
    errno.ETIMEDOUT: 'see whether the network disk answers',
}
# Words for errors of the system that come without its own: of Python's threads and locks, of
# the loader of libraries, of C++, and of oneDNN, whose 1 is want of memory.
_WORDS = {
    "can't start new thread": errno.EAGAIN,
    "can't allocate ": errno.ENOMEM,
    'failed to map segment from shared object': errno.ENOMEM,
    'MemoryError': errno.ENOMEM,
    'std::bad_alloc': errno.ENOMEM,
    'Status: 1, message: could not create a primitive': errno.ENOMEM,
}


@contextlib.contextmanager
def at_work() -> Iterator[None]:
    """Lets errors about paths in the block be the machine's.

    To be entered when all flags are checked and what they name was there: who is told of a slip
    of the pen then, or starts other trials in the place of this one, is misled.

    Raises:
        HostError: in the place of an error of the system about a path.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is None or trouble(error) is not None:
            raise
        path = os.fsdecode(error.filename)
        if error.strerror != os.strerror(error.errno):
            # Says what to do.
            raise host_error.HostError(f'{path}: {error.strerror}') from error
        permitted = error.errno not in (errno.EACCES, errno.EPERM)
        advice = 'bring back what was there' if permitted else 'change its permissions'
        raise host_error.HostError(
            f'{path}: {error.strerror}: {advice}, then run the same command again'
        ) from error


def trouble(error: BaseException) -> str | None:
    """Returns a line for an error of the machine, None for any other.

    What TensorFlow and the loader of libraries raise names the system's errors in its text
    alone.
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
    of_tensorflow = type(error).__module__.startswith('tensorflow')
    if of_tensorflow or isinstance(error, (ImportError, RuntimeError)):
        number = next((each for words, each in _WORDS.items() if words in text), number)
    nameless = isinstance(error, (ImportError, OSError)) and number is None
    if nameless or of_tensorflow:
        told = [each for each in _ADVICE if os.strerror(each) in text]
        number = told[0] if told else number
    path = getattr(error, 'filename', None)
    if number == errno.ENOENT and path is None and _is_adrift():
        return 'the current directory is gone: bring it back, then run the same command again'
    if number not in _ADVICE:
        return None
    place = '' if path is None else f'{os.fspath(path)}: '
    return f'{place}{os.strerror(number)}: {_ADVICE[number]}, then run the same command again'


def _is_adrift() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False

"""Flags that name files and directories, and what the system says of them in one line."""

import errno
import os

from absl import flags

from dp_fedemb import pathnames

# All of them, so that each is treated alike whichever program has it.
NAMES = frozenset(
    (
        *('cache_dir', 'curve', 'data_dir', 'evaluation', 'grid', 'groups', 'index', 'input'),
        *('model', 'output', 'output_dir', 'pairs_files', 'pretrained', 'public_pictures'),
        *('publish', 'runs', 'socket'),
    )
)
# Errors of the system that a path is to blame for, and what to do.
_ADVICE = {
    errno.EACCES: 'change its permissions, or choose another',
    errno.EPERM: 'change its permissions, or choose another',
    errno.EEXIST: 'something else is there; choose another',
    errno.EISDIR: 'name a file',
    errno.ELOOP: 'it is a link to itself; choose another',
    errno.ENAMETOOLONG: 'choose a shorter one',
    errno.ENOENT: 'look for a slip, or make it first',
    errno.ENOTDIR: 'a file is in its way; choose another',
    errno.EINVAL: 'choose another',
    errno.ENXIO: 'choose another',
    errno.ENODEV: 'choose another',
    errno.EBUSY: 'choose another',
    errno.ENOTEMPTY: 'choose another',
}


def resolve(flag: flags.Flag) -> None:
    """Puts a home in the place of ~ in a flag that names paths.

    Raises:
        ValueError: for a user that is not there, or an address of the web.
    """
    value = flag.value
    if isinstance(value, str):
        flag.value = pathnames.local(value, flag.name)
    elif isinstance(value, list):
        flag.value = [pathnames.local(each, flag.name) for each in value]


def trouble(error: BaseException) -> str | None:
    """Returns a line for an error of the system that is about a path, None for any other.

    The flag that leads there is named where there is one.
    """
    number, path = getattr(error, 'errno', None), getattr(error, 'filename', None)
    if not isinstance(error, OSError) or path is None or number not in _ADVICE:
        return None
    path = os.path.abspath(os.fsdecode(path))
    reason = os.strerror(number)
    for name in sorted(NAMES & set(flags.FLAGS)):
        value = flags.FLAGS[name].value
        for each in value if isinstance(value, list) else [value]:
            if each is None or not (path + os.sep).startswith(os.path.abspath(each)):
                continue
            rest = '' if os.path.abspath(each) == path else f' ({path})'
            return f'{name}={each!r}: {reason}{rest}; {_ADVICE[number]}'
    return f'{path}: {reason}; {_ADVICE[number]}'

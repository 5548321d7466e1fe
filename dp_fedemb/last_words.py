"""Says in one line what ended a program that could not say it any more.

A small process listens at a pipe, into which the program writes when it ends in good order. If
the pipe closes without that word, a signal has ended the program: SIGBUS where a mapped file
was cut short, SIGABRT of C++ without memory, the system's SIGKILL. The listener then says so on
the program's standard error, and ends. It is started by path, as

    python -I -S last_words.py PROGRAM_PID

and reads the pipe as its standard input; 3 is the program's standard error.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import sys
import time

# Nothing that takes long to import: the listener reads this file, too.

_DONE = b'\0done'
_STANDARD_ERROR = 3
# What the program may have open below it, which is not for the listener.
_FEW = 256
_PATIENCE_S = 1.0
_EXIT_CODE = -1  # Of /proc/PID/stat, the last field.
_SIGNAL_BITS = 0x7F
# Words of `faulthandler`, and the signals that it answers.
_FATAL = {
    b'Bus error': 'SIGBUS',
    b'Aborted': 'SIGABRT',
    b'Segmentation fault': 'SIGSEGV',
    b'Floating point exception': 'SIGFPE',
    b'Illegal instruction': 'SIGILL',
}
_MEMORY = 'free memory, raise the limit on it (ulimit -v), or take smaller batches'
# What a signal mostly means here, and what to do.
_MEANINGS = {
    'SIGBUS': 'a file that is read was cut short, or a disk (or /dev/shm) is full or lost:'
    ' bring it back',
    'SIGABRT': f'mostly TensorFlow without memory: {_MEMORY}, or mend the environment variable'
    ' (as TF_XLA_FLAGS) that a line above names',
    'SIGSEGV': f'without memory, or a bug: {_MEMORY}',
    'SIGKILL': 'by somebody, or by the system for want of memory: see that there is enough',
    'SIGXCPU': 'raise the limit on processor time (ulimit -t)',
    'SIGILL': 'TensorFlow was built for another processor: take another machine',
}
_UNKNOWN = (
    'ended without a word of its own, by a signal from outside or by a library, mostly for want'
    ' of memory: see that there is enough'
)

_pipe: int | None = None
_listener = 0
_code: int | None = None


def meaning(number: int) -> str:
    """Returns what it means that a signal has ended a program, and the way out."""
    import signal  # Takes the listener longer than its start.

    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f'signal {number}'
    text = f'stopped by {name}'
    return f'{text}: {_MEANINGS[name]}' if name in _MEANINGS else text


def listen(then: str, with_trace: bool = False) -> None:
    """Starts the listener of this process, once; without room for one there is none.

    To be called before there are locks or threads. A fork of the program is not listened to,
    and keeps nothing of it.

    Args:
        then: what to do after what the line says, its end.
        with_trace: whether Python's stack is shown above the line, where a signal has one.
    """
    global _pipe, _listener
    if _pipe is not None:
        return
    # Who has asked Python for it, with PYTHONFAULTHANDLER, has it from the listener.
    with_trace = with_trace or faulthandler.is_enabled()
    command = [sys.executable, '-I', '-S', __file__, str(os.getpid()), then, str(with_trace)]
    kept = {name: value for name, value in os.environ.items() if name == 'LD_LIBRARY_PATH'}
    try:
        read, write = os.pipe()
    except OSError:
        return
    # Of its own it has nothing to say, and a reader of the output shall not wait for it.
    actions = [
        (os.POSIX_SPAWN_DUP2, read, 0),
        (os.POSIX_SPAWN_DUP2, 2, _STANDARD_ERROR),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    try:
        # A session of its own: neither Ctrl-C nor what kills the group reaches it.
        _listener = os.posix_spawn(
            sys.executable, command, kept, file_actions=actions, setsid=True
        )
    except (OSError, TypeError, NotImplementedError):
        os.close(write)
        return
    finally:
        os.close(read)
    _pipe = write
    faulthandler.enable(_pipe)
    # The first to be registered is the last to run.
    atexit.register(_end)
    os.register_at_fork(after_in_child=_leave)


def end_with(code: int) -> None:
    """Has this process, when Python has ended, end with a code before libraries are torn down.

    Where the machine has failed them, some hang in that or end with a code of their own.
    """
    global _code
    _code = code


def _end() -> None:
    """Tells the listener that this process ends in good order, and waits for its end."""
    global _pipe
    if _pipe is None:
        return
    faulthandler.disable()
    try:
        os.write(_pipe, _DONE)
        os.close(_pipe)
        until = time.monotonic() + _PATIENCE_S
        while os.waitpid(_listener, os.WNOHANG)[0] == 0 and time.monotonic() < until:
            time.sleep(0.0005)
    except OSError:
        pass  # Somebody has ended it.
    _pipe = None
    if _code is not None:
        try:
            sys.stdout.flush()
        finally:
            os._exit(_code)


def _leave() -> None:
    """Lets go, in a fork, of what belongs to the program."""
    global _pipe
    if _pipe is not None:
        faulthandler.disable()
        os.close(_pipe)
        _pipe = None


def _wait_and_tell(program: str, then: str, with_trace: bool) -> None:
    """Waits for the end of a program; says what ended it, if it has not itself."""
    os.chdir('/')
    os.closerange(_STANDARD_ERROR + 1, _FEW)
    status = _open_status(program)
    heard = b''
    while chunk := os.read(0, 1 << 16):
        heard += chunk
    if heard.endswith(_DONE):
        return
    text = _what_ended(status, heard)
    if text is None:
        return
    # There may be half a line of a progress bar.
    joint = ', then' if ':' in text else ';'
    lines = ['', f'error: {text}{joint} {then}', '']
    if with_trace and heard:
        trace = heard.decode(errors='replace').strip().splitlines()
        lines[1:1] = [line for line in trace if not line.startswith('Extension modules')]
    os.write(_STANDARD_ERROR, '\n'.join(lines).encode(errors='replace'))


def _open_status(program: str) -> int | None:
    """Opens what the system says of a process; None where it says nothing, or of others."""
    try:
        # Not so under the /proc of another namespace.
        if os.readlink('/proc/self') != str(os.getpid()):
            return None
        return os.open(f'/proc/{program}/stat', os.O_RDONLY)
    except OSError:
        return None


def _what_ended(status: int | None, heard: bytes) -> str | None:
    """Returns what ended a program, None if it was itself.

    Args:
        status: of `_open_status`; it cannot be read any more when somebody has waited for
            the program.
        heard: last words.
    """
    import signal

    try:
        code = 0 if status is None else int(os.pread(status, 1 << 12, 0).split()[_EXIT_CODE])
    except (OSError, ValueError):
        code = 0
    number = code & _SIGNAL_BITS
    if number:
        return meaning(number)
    if code:
        return f'ended with code {code >> 8} by a library, mostly without memory: {_MEMORY}'
    found = [name for words, name in _FATAL.items() if b'Fatal Python error: ' + words in heard]
    return meaning(signal.Signals[found[0]]) if found else _UNKNOWN


if __name__ == '__main__':
    try:
        _wait_and_tell(sys.argv[1], sys.argv[2], sys.argv[3] == 'True')
    finally:
        os._exit(0)

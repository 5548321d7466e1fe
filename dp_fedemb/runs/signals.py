"""SIGTERM and Ctrl-C as an orderly exit: `finally` blocks run, checkpoints stay whole."""

from collections.abc import Iterator
import contextlib
import signal
import time
from typing import Any

_TOGETHER_S = 0.3


class Stopped(SystemExit):
    """Raised in the main thread by a signal; ends the program with 128 + its number.

    A `SystemExit` and no `Exception`, so that nothing on the way takes it for an error
    to recover from, and no trace is printed.
    """

    def __init__(self, signum: int):
        super().__init__(128 + signum)
        self.signal = signal.Signals(signum)

    def __str__(self) -> str:
        return f'stopped by {self.signal.name}'


@contextlib.contextmanager
def end_cleanly() -> Iterator[None]:
    """Turns the first SIGINT, SIGTERM or SIGHUP into `Stopped`, at once.

    The round in progress is lost; what the last checkpoint holds is not. A later
    signal ends the process where it stands (its workers still die with it). To be
    entered on the main thread; while it is in a long C++ call, Python delivers the
    signal when the call returns.
    """
    signals = [s for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if not _ignored(s)]

    def stop(signum: int, frame: Any) -> None:
        # In which a second one of the same command is taken for the first: `timeout` sends one
        # to its program and one to the group of it.
        time.sleep(_TOGETHER_S)
        for number in signals:
            signal.signal(number, signal.SIG_DFL)
        raise Stopped(signum)

    previous = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        # After a signal the default stays, so that a second one is final.
        for number, handler in previous.items():
            if signal.getsignal(number) is stop:
                signal.signal(number, handler)


def _ignored(signum: int) -> bool:
    # As under nohup, which asks for exactly that.
    return signal.getsignal(signum) == signal.SIG_IGN

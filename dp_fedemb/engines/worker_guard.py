"""Runs a program that dies with its parent; executed by path, before any import.

usage: python -I -S worker_guard.py PARENT_PID PROGRAM [ARG ...]

The kernel sends the death signal even when the parent is killed with SIGKILL, and
it stays in force across exec, so no process is left between parent and program. It
is sent when the *thread* that started us ends, which is why that is the main thread.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, program: list[str]) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(
            f'prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}; without it a'
            ' worker could outlive its driver, so none is started'
        )
    # The parent may have died before the call above.
    if os.getppid() != parent:
        sys.exit('parent is gone')
    os.execv(program[0], program)


if __name__ == '__main__':
    main(int(sys.argv[1]), sys.argv[2:])

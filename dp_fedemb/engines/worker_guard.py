"""Runs a program that dies with its parent; executed by path, before any import.

usage: python -I -S worker_guard.py PARENT_PID PROGRAM [ARG ...]
       python -I -S worker_guard.py PARENT_PID --relay=LISTENER,STATUS,PORT[,FOLDER] PROGRAM ...
       python -I -S worker_guard.py --check

The kernel sends the death signal even when the parent is killed with SIGKILL, and
it stays in force across exec, so no process is left between parent and program. It
is sent when the *thread* that started us ends, which is why that is the main thread.

With --relay the program gets a network of its own, a namespace with nothing but a
loopback, so that nobody reaches the port that it opens; worker_relay.py stands there
beside it and passes on what comes in by the LISTENER, a socket from outside. --check
tells whether that is possible here.
"""

import ctypes
import fcntl
import os
import pathlib
import signal
import socket
import struct
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_INTERFACE = struct.Struct('16sH14x')
_RELAY = pathlib.Path(__file__).with_name('worker_relay.py')
_LIBC = ctypes.CDLL(None, use_errno=True)


def main(parent: int, program: list[str]) -> None:
    relay = None
    if program[0].startswith('--relay='):
        relay = program.pop(0).removeprefix('--relay=').split(',')
        isolate()
    # After a change of credentials, which would clear it.
    die_with_parent(parent, signal.SIGKILL)
    if relay is not None:
        ours = os.getpid()
        if os.fork() == 0:
            die_with_parent(ours, signal.SIGTERM)
            command = [sys.executable, '-I', '-S', str(_RELAY), str(ours), *relay]
            os.execv(sys.executable, command)
        for descriptor in relay[:2]:
            os.close(int(descriptor))
    os.execv(program[0], program)


def die_with_parent(parent: int, number: int) -> None:
    """Has the kernel send us a signal when our parent ends."""
    if _LIBC.prctl(_PR_SET_PDEATHSIG, number) != 0:
        sys.exit(
            f'prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}; without it a'
            ' worker could outlive its driver, so none is started'
        )
    # The parent may have died before the call above.
    if os.getppid() != parent:
        sys.exit('parent is gone')


def isolate() -> None:
    """Moves to a network namespace of our own, whose loopback is up.

    Raises:
        OSError: where the machine does not allow that.
    """
    user, group = os.getuid(), os.getgid()
    if _LIBC.unshare(_CLONE_NEWNET) != 0:
        # Who is not root needs a user namespace, in which everybody stays who they are.
        if _LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), 'unshare')
        for name, text in (
            ('setgroups', 'deny'),
            ('uid_map', f'{user} {user} 1'),
            ('gid_map', f'{group} {group} 1'),
        ):
            pathlib.Path('/proc/self', name).write_text(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = _INTERFACE.pack(b'lo', 0)
        flags = _INTERFACE.unpack(fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _INTERFACE.pack(b'lo', flags | _IFF_UP))


if __name__ == '__main__':
    if sys.argv[1] == '--check':
        try:
            isolate()
        except OSError as reason:
            sys.exit(str(reason))
    else:
        main(int(sys.argv[1]), sys.argv[2:])

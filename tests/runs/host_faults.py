"""Faults of a host, made for real in a process of its own: a disk, a directory, limits."""

import contextlib
import ctypes
import os
import pathlib
import resource
import shutil
import signal
import subprocess

_NEW_NAMESPACE, _NEW_USER = 0x00020000, 0x10000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def own_disk(path, size='2m'):
    """Mounts a small disk that only this process sees; False where it may not.

    To be called in a fork, which has one thread.
    """
    user, group = os.getuid(), os.getgid()
    if _LIBC.unshare(_NEW_NAMESPACE) != 0:
        if _LIBC.unshare(_NEW_NAMESPACE | _NEW_USER) != 0:
            return False
        try:
            for name, text in (
                ('setgroups', 'deny'),
                ('uid_map', f'0 {user} 1'),
                ('gid_map', f'0 {group} 1'),
            ):
                pathlib.Path('/proc/self', name).write_text(text)
        except OSError:
            # As where AppArmor lets it have such a namespace, and do nothing in it.
            return False
    if shutil.which('mount') is None:
        return False
    steps = (
        ['mount', '--make-rprivate', '/'],
        ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'none', path],
    )
    return all(
        subprocess.run(step, stderr=subprocess.DEVNULL).returncode == 0 for step in steps
    )


@contextlib.contextmanager
def full_disk(disk, run):
    with open(disk / 'filler', 'wb', buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    yield
    (disk / 'filler').unlink()


@contextlib.contextmanager
def read_only_disk(disk, run):
    def remount(how):
        command = ['mount', '-o', f'remount,bind,{how}', disk]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)

    remount('ro')
    yield
    remount('rw')


@contextlib.contextmanager
def vanished_directory(disk, run):
    run.rename(disk / 'elsewhere')
    yield
    if run.exists():
        shutil.rmtree(run)
    (disk / 'elsewhere').rename(run)


@contextlib.contextmanager
def _limit(kind, value):
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    yield
    resource.setrlimit(kind, before)


@contextlib.contextmanager
def small_files(disk, run):
    """No file may grow beyond 100 bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with _limit(resource.RLIMIT_FSIZE, 100):
        yield


def no_file_handles(disk, run):
    return _limit(resource.RLIMIT_NOFILE, 3)


FAULTS = (full_disk, read_only_disk, vanished_directory, small_files, no_file_handles)

"""Addresses of workers, and the sockets behind them."""

import contextlib
import os
import pathlib
import socket
import stat
import tempfile
from typing import Optional

_BACKLOG = 64
# An address has room for 107 bytes.
_MOST_PATH = 100


def check_address(address: str) -> None:
    """Raises ValueError for what is no address of a worker."""
    host, _, port = address.rpartition(':')
    if ':' in host and not address.startswith('unix:') and (host[0], host[-1]) != ('[', ']'):
        raise ValueError(f'worker {address!r}: for a port of IPv6 write [{host}]:{port}')
    by_port = host and port.isascii() and port.isdecimal() and 0 < int(port) < 2**16
    if not (by_port or address.startswith('unix:/')):
        raise ValueError(f'worker {address!r}: expected host:port, or unix:/path of a socket')


def why_silent(address: str, timeout_s: float = 2.0) -> str:
    """Returns what stands at the address of a worker that does not answer.

    Args:
        address: of `check_address`.
        timeout_s: how long a connection may take.
    """
    try:
        if address.startswith('unix:'):
            with socket.socket(socket.AF_UNIX) as trial:
                trial.settimeout(timeout_s)
                trial.connect(address.removeprefix('unix:'))
        else:
            host, _, port = address.rpartition(':')
            place = host.strip('[]'), int(port)
            socket.create_connection(place, timeout_s, all_errors=True).close()
    except socket.gaierror as error:
        return f'its name is not known here: {error.strerror}'
    except (OSError, ExceptionGroup) as found:
        # Of a name with several addresses the first: the last may be of an IPv6 that is off.
        first = found.exceptions[0] if isinstance(found, ExceptionGroup) else found
        return f'nobody can be reached there: {getattr(first, "strerror", None) or first}'
    return 'what listens there is no worker, is stopped, or is too slow for the timeout'


def private_listener() -> tuple[socket.socket, str]:
    """Returns a listening socket that only this user can reach, and the folder it is in."""
    folder = tempfile.mkdtemp(prefix='dp_fedemb-worker-')
    # A long name of the folder for temporary files does not fit into an address.
    if len(folder) > _MOST_PATH:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix='dp_fedemb-worker-', dir='/tmp')
    return path_listener(f'{folder}/socket'), folder


def path_listener(path: str) -> socket.socket:
    """Returns a listening socket at a path, where only this user may connect.

    Raises:
        ValueError: if somebody listens there, or nothing can be made there.
    """
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode) and not _is_listening(path):
                # Of one who was killed.
                os.unlink(path)
        listener.bind(path)
    except OSError as error:
        listener.close()
        raise ValueError(
            f'socket={path!r}: {error.strerror or error}; choose another path'
        ) from error
    finally:
        os.umask(before)
    listener.listen(_BACKLOG)
    return listener


def check_socket(path: str) -> None:
    """Raises ValueError where no socket can be made at a path, or it stands for something."""
    place = pathlib.Path(path).expanduser().absolute()
    reason = None
    if len(os.fsencode(place)) > _MOST_PATH:
        reason = f'its path has more than {_MOST_PATH} bytes'
    elif not place.parent.is_dir():
        reason = f'{place.parent} is no directory'
    elif place.exists() and not place.is_socket():
        reason = 'there is something else'
    if reason:
        raise ValueError(f'socket={path!r}: {reason}; choose another path')


def port_listener(port: int) -> socket.socket:
    """Returns a listening socket at a port of every interface.

    Raises:
        ValueError: if the port is taken.
    """
    listener = _exclusive(port)
    listener.listen(_BACKLOG)
    return listener


def reserve_port(port: Optional[int]) -> socket.socket:
    """Binds a port and keeps it without listening, so that nobody else gets it.

    The worker sets SO_REUSEPORT, as this socket does, and binds the same port. Without
    the reservation two workers started at the same time on one port would both get
    it, and the kernel would deal the connections out among them.
    """
    if port is not None:
        # Without SO_REUSEPORT first: refused if there is anybody, sharing or not.
        _exclusive(port).close()
    reservation = _socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reservation.bind(('', port or 0))
    return reservation


def _is_listening(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.connect(path)
        except OSError:
            return False
    return True


def _socket() -> socket.socket:
    try:
        return socket.socket(socket.AF_INET6)
    except OSError:
        # A kernel may do without, whatever Python was built with.
        return socket.socket(socket.AF_INET)


def _exclusive(port: int) -> socket.socket:
    bound = _socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(('', port))
    except OSError as error:
        bound.close()
        raise ValueError(
            f'port={port}: {error.strerror}; stop what listens there (ss -ltnp), or choose'
            ' another port'
        ) from error
    return bound

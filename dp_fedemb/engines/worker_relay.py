"""Stands in a worker's own network and passes on what comes in from outside.

usage: python -I -S worker_relay.py WORKER_PID LISTENER STATUS PORT [FOLDER]

Started by worker_guard.py beside the worker, and ended with it. LISTENER is a listening
socket that was made outside, STATUS a pipe: `r` is written to it when the worker answers on
its PORT, `d` when a driver that had connected has left and no other is there. FOLDER is that
of the listener, and is removed at the end, also where the driver was killed and cannot.
"""

import contextlib
import os
import shutil
import signal
import socket
import sys
import threading
import time

_POLL_S = 0.01
_BUFFER = 1 << 20


class Relay:
    """Connections between the outside and a port of this network."""

    def __init__(self, listener: socket.socket, status: int, port: int) -> None:
        self._listener = listener
        self._status = status
        self._port = port
        self._lock = threading.Lock()
        self._open = 0

    def run(self) -> None:
        """Passes on connections until the process is ended."""
        while True:
            try:
                self._connected().close()
                break
            except OSError:
                time.sleep(_POLL_S)
        os.write(self._status, b'r')
        while True:
            try:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()
            except (OSError, RuntimeError):
                # No handle or thread is free until somebody leaves.
                time.sleep(_POLL_S)

    def _connected(self) -> socket.socket:
        made = socket.create_connection(('localhost', self._port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._open += 1
        try:
            with client, self._connected() as worker:
                back = threading.Thread(target=_pass_on, args=[worker, client], daemon=True)
                back.start()
                _pass_on(client, worker)
                back.join()
        except OSError:
            # The worker or the driver is gone, and the other one learns it.
            pass
        finally:
            with self._lock:
                self._open -= 1
                if not self._open:
                    os.write(self._status, b'd')


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    buffer = memoryview(bytearray(_BUFFER))
    with contextlib.suppress(OSError):
        while count := source.recv_into(buffer):
            target.sendall(buffer[:count])
    # One side's end is the other's too: no half of a connection stays.
    for side in (source, target):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


def main(worker: int, listener: int, status: int, port: int, folder: str = '') -> None:
    # What the kernel sends when the worker ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        if os.getppid() == worker:
            Relay(socket.socket(fileno=listener), status, port).run()
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        # Threads that pass on are in the way of nobody.
        os._exit(0)


if __name__ == '__main__':
    pid, descriptor, pipe, inner, *rest = sys.argv[1:]
    main(int(pid), int(descriptor), int(pipe), int(inner), *rest)

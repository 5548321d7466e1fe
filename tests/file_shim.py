"""Ends a process at a file operation of a given number, as SIGKILL does: no clean-up."""

import builtins
import contextlib
import io
import os
import pathlib

from dp_fedemb import drafts
from dp_fedemb import files

KILLED = 77
_CALLS = ('open', 'write', 'fsync', 'replace', 'rename', 'unlink', 'mkdir', 'rmdir', 'chmod')


class Shim:
    """Counts file operations below a directory; at the chosen one the process ends.

    A write ends in its middle, and a file that is written in its place, not as a draft,
    where it is empty.

    Attributes:
        count: operations so far.
        in_place: what was opened for writing and is no draft, nor in one.
    """

    def __init__(self, root, kill_at=None):
        self.count = 0
        self.in_place = []
        self._root = pathlib.Path(root)
        self._kill_at = kill_at

    def _tick(self):
        self.count += 1
        if self.count == self._kill_at:
            os._exit(KILLED)

    def _is_below(self, place):
        return str(place).startswith(str(self._root))

    @contextlib.contextmanager
    def installed(self):
        saved = {name: getattr(os, name) for name in _CALLS}
        exchange, builtin_open = files._exchange, builtins.open

        def wrap(name):
            def call(*arguments, **options):
                place = os.fspath(arguments[0]) if not isinstance(arguments[0], int) else None
                if place is None or self._is_below(place):
                    if name == 'write' and self.count + 1 == self._kill_at:
                        content = bytes(arguments[1])
                        saved['write'](arguments[0], content[: len(content) // 2])
                    self._tick()
                # Only a power cut needs it, and here it is most of the time.
                return None if name == 'fsync' else saved[name](*arguments, **options)

            return call

        def exchanged(*arguments):
            self._tick()
            return exchange(*arguments)

        def opened(place, mode='r', *arguments, **options):
            writes = self._is_below(place) and set(mode) & set('wax+')
            if writes:
                self._tick()
            file = builtin_open(place, mode, *arguments, **options)
            if writes:
                path = pathlib.Path(place).relative_to(self._root)
                if not any(drafts.is_draft(part) for part in path.parts):
                    self.in_place.append(str(path))
                    self._tick()
            return file

        for name in _CALLS:
            setattr(os, name, wrap(name))
        # Two names of one function; pathlib has the second.
        files._exchange, builtins.open, io.open = exchanged, opened, opened
        try:
            yield self
        finally:
            for name, call in saved.items():
                setattr(os, name, call)
            files._exchange, builtins.open, io.open = exchange, builtin_open, builtin_open

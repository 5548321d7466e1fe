"""A directory that belongs to one configuration, which its config.json names."""

from collections.abc import Iterator, Mapping
import contextlib
import fcntl
import json
import os
import pathlib
from typing import Any, Optional, Union

from dp_fedemb import drafts
from dp_fedemb import files
from dp_fedemb import host_error
from dp_fedemb import json_files

CONFIG = 'config.json'


class VanishedError(host_error.HostError):
    """A directory was moved, removed or replaced while a process wrote to it."""


class ConfiguredDirectory:
    """Files that appear whole, in a directory of one configuration and one writer.

    Attributes:
        path: absolute.
    """

    def __init__(
        self,
        path: Union[str, 'os.PathLike[str]'],
        holds: str = 'run',
        config_mode: int = 0o644,
    ) -> None:
        """Names the directory; makes nothing.

        Args:
            path: where.
            holds: what is in it, in a word for error messages.
            config_mode: permissions of the noted configuration; 0o600 if it names places of
                this machine.
        """
        # A shell leaves the ~ of --output_dir=~/run to its program.
        self.path = pathlib.Path(os.path.expanduser(path)).absolute()
        self._holds = holds
        self._locked: Optional[int] = None
        self._config_mode = config_mode

    def check(
        self, config: Mapping[str, Any], absent: Optional[Mapping[str, Any]] = None
    ) -> None:
        """Refuses a directory of another configuration, before anything costly happens.

        Args:
            config: JSON values that decide what is computed; no secrets.
            absent: what a config.json means that lacks some of these names.

        Raises:
            NotADirectoryError: if there is a file at the path.
            FileExistsError: if the directory holds something else.
            ValueError: if it belongs to another configuration, or its config.json is
                damaged.
        """
        known = self.check_kind()
        if known is None:
            return
        asked = json.loads(json_files.text(config))
        different = _difference(known, asked, absent or {})
        if different:
            name, old, new = different
            raise ValueError(
                f'output_dir={str(self.path)!r}: belongs to a {self._holds} with {name}='
                f'{old!r}, not {new!r}; choose another directory, or the settings in its'
                f' {CONFIG}'
            )

    def check_kind(self) -> Optional[Any]:
        """Refuses what is no directory of this kind, before its configuration is known.

        Returns:
            The configuration that it belongs to; None for a new or empty one.

        Raises:
            NotADirectoryError, FileExistsError, ValueError: see `check`.
        """
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f'output_dir={str(self.path)!r}: is a file')
        known = self.read_json(CONFIG)
        there = self.path.iterdir() if known is None and self.path.exists() else ()
        if not all(drafts.is_draft(path) for path in there):
            raise FileExistsError(
                f'output_dir={str(self.path)!r}: is not empty and holds no {self._holds};'
                ' choose another directory'
            )
        return known

    def begin(
        self, config: Mapping[str, Any], absent: Optional[Mapping[str, Any]] = None
    ) -> None:
        """Makes the directory and notes the configuration.

        Raises:
            NotADirectoryError, FileExistsError, ValueError: see `check`.
        """
        self.check(config, absent)
        files.make_directory(self.path)
        drafts.remove_all(self.path)
        if self.read_json(CONFIG) is None:
            json_files.write(self.path / CONFIG, config, self._config_mode)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out; the system drops the lock with this process.

        Raises:
            HostError: if another process is at work here.
            VanishedError: in the place of whatever the block raises for want of the directory.
        """
        files.make_directory(self.path)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise host_error.HostError(
                f'output_dir={str(self.path)!r}: another process is writing there; wait for'
                ' its end and run the same command again, or choose another directory'
            ) from None
        self._locked = descriptor
        try:
            yield
        except Exception:
            self.check_here()
            raise
        finally:
            self._locked = None
            os.close(descriptor)

    def check_here(self) -> None:
        """Looks whether the path still leads to the directory that was locked.

        Whoever writes on where another one is, or none, leaves two halves.

        Raises:
            VanishedError: if it does not.
        """
        if self._locked is None:
            return
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if os.path.samestat(os.fstat(self._locked), os.stat(self.path)):
                return
        raise VanishedError(
            f'output_dir={str(self.path)!r}: was moved, removed or replaced while this process'
            ' wrote to it; bring it back as it was, then run the same command again'
        )

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file in one step."""
        json_files.write(self.path / name, value)

    def write_text(self, name: str, text: str) -> None:
        """Writes a file in one step."""
        files.write_text(self.path / name, text)

    def read_json(self, name: str) -> Optional[Any]:
        """Returns the contents of a JSON file, None if there is none.

        Raises:
            ValueError: if it is damaged.
        """
        path = self.path / name
        if not path.is_file():
            return None
        way_out = 'delete it, and the same command writes it again'
        if name == CONFIG:
            way_out = 'restore it, or choose another output_dir'
        return json_files.read(path, way_out)


def _difference(
    known: Mapping[str, Any],
    asked: Mapping[str, Any],
    absent: Mapping[str, Any],
    prefix: str = '',
) -> Optional[tuple[str, Any, Any]]:
    """First difference of two nested dicts: (dotted name, known, asked), or None.

    A name that `known` lacks has its value in `absent`.
    """
    for name in sorted({*known, *asked}):
        before = absent.get(name)
        old, new = known.get(name, before), asked.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            nested = before if isinstance(before, Mapping) else {}
            inner = _difference(old, new, nested, f'{prefix}{name}.')
            if inner:
                return inner
        elif old != new:
            return f'{prefix}{name}', old, new
    return None

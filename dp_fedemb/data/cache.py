"""Stores made once and found again by a hash of everything they were made from."""

from collections.abc import Callable, Iterable
import contextlib
import hashlib
import json
import pathlib
import stat
from typing import Any, Optional

from absl import logging

from dp_fedemb import drafts
from dp_fedemb import files
from dp_fedemb import json_files
from dp_fedemb import progress
from dp_fedemb.data import store as store_lib

_BLOCK = 1 << 22
_BLOCKS_WITHOUT_BAR = 64


def cached_stores(
    cache_dir: files.PathLike,
    name: str,
    source: dict[str, Any],
    build: Callable[[pathlib.Path], None],
) -> dict[str, store_lib.UserStore]:
    """Returns the stores made from `source`, making them if they are not there yet.

    They appear together or not at all: an interrupted conversion leaves nothing that
    a later run would take for a result.

    Args:
        cache_dir: where stores are kept.
        name: of the task; the folder in `cache_dir`.
        source: all options and the fingerprint of the input (JSON-able). Another
            source means another folder.
        build: writes one store per part into the empty directory it is given.

    Returns:
        The stores by part, the name of their directory.

    Raises:
        ValueError: if a folder there does not hold what its name says.
    """
    text = json.dumps(source, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = pathlib.Path(cache_dir).absolute() / name / key
    files.make_directory(folder.parent)
    if not folder.exists():
        # A second conversion of the same waits for the first and takes its result.
        waiting = f'{folder}: another process is converting the same; waiting for its result'
        with files.lock(folder, lambda: logging.warning(waiting)):
            if not folder.exists():
                with files.appearing_directory(folder, mode=0o700) as draft:
                    build(draft)
                    (draft / 'source.json').write_text(text)
    drafts.remove_abandoned(folder)
    record = folder / 'source.json'
    if not record.is_file() or record.read_bytes() != text.encode():
        raise ValueError(
            f'{folder}: was not made from the present input; delete the directory and run again'
        )
    parts = sorted(path.name for path in folder.iterdir() if path.is_dir())
    return {part: store_lib.UserStore.open(folder / part) for part in parts}


def file_fingerprint(path: files.PathLike, cache_dir: files.PathLike) -> str:
    """Returns the SHA-256 of a file, computed again only when size or time changed.

    Args:
        path: the file.
        cache_dir: where sums are remembered, in `fingerprints.json`.
    """
    path = pathlib.Path(path).absolute()
    status = path.stat()
    stamp = f'{path} {status.st_size} {status.st_mtime_ns}'
    memory = pathlib.Path(cache_dir).absolute() / 'fingerprints.json'
    way_out = 'delete it, and it is made again'
    known = json_files.read(memory, way_out) if memory.exists() else {}
    if stamp not in known:
        digest = hashlib.sha256()
        blocks = -(-status.st_size // _BLOCK)
        with open(path, 'rb') as file:
            read = iter(lambda: file.read(_BLOCK), b'')
            if blocks > _BLOCKS_WITHOUT_BAR:
                read = progress.each(read, blocks, f'checking {path.name}', 'block')
            for block in read:
                digest.update(block)
        known[stamp] = digest.hexdigest()
        files.make_directory(memory.parent)
        # Who has opened it for colleagues wants it open.
        mode = stat.S_IMODE(memory.stat().st_mode) if memory.exists() else 0o600
        json_files.write(memory, known, mode)
        # Gone, or another user's, where somebody else was here in this moment.
        with contextlib.suppress(OSError):
            # As the umask may have taken some of it away.
            memory.chmod(mode)
    return str(known[stamp])


def listing_fingerprint(
    root: files.PathLike, paths: Optional[Iterable[pathlib.Path]] = None
) -> str:
    """Returns a hash of the names, sizes and times of many files.

    Reading every image of a large folder to see whether it changed would take as
    long as converting it.

    Args:
        root: directory; names count from here.
        paths: by default all files under `root`.
    """
    if paths is None:
        paths = (path for path in pathlib.Path(root).rglob('*') if path.is_file())
    digest = hashlib.sha256()
    for path in sorted(paths):
        status = path.stat()
        line = f'{path.relative_to(root)}\t{status.st_size}\t{status.st_mtime_ns}\n'
        digest.update(line.encode(errors='surrogateescape'))
    return digest.hexdigest()

"""Runs cells side by side, each in a process of its own, and goes on where it was."""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

from dp_fedemb import files
from dp_fedemb import host_error
from dp_fedemb import json_files
from dp_fedemb import last_words
from dp_fedemb import progress
from dp_fedemb.engines import worker_guard
from dp_fedemb.tuning import cells as cells_lib
from dp_fedemb.tuning import results

LOG = 'log.txt'
_OUTPUT = 'stdout.txt'
# Of a record of a secret cell that failed by itself.
FAILED = 'failed'
# The exit code of a program that its settings have ended: refused, or training diverged.
_OWN_FAULT = 2
# Exit codes from here on are of programs that were stopped.
_SIGNALS = 128
_POLL_S = 0.1
_PROBE_BYTES = 1 << 16
_GRACE_S = 10.0
# A process for each cell leaves no room for threads of TensorFlow beside its shards.
_ENVIRONMENT = {'TF_CPP_MIN_LOG_LEVEL': '3', 'TF_NUM_INTEROP_THREADS': '1'}
# What a run says of itself in a record: small files of its directory.
_FILES = (
    'config.json',
    'evaluation.json',
    'privacy.json',
    'evaluation_test.json',
    'evaluation_validation.json',
)


@dataclasses.dataclass(frozen=True)
class Programs:
    """How cells are run here.

    Attributes:
        folder: with the programs.
        added: flags of a cell that change nothing of what it computes: directories, engine,
            threads.
        places: words for directories in what is published, see `cells.without_paths`.
        has_output_dir: programs that write into --output_dir.
        needed: directories without which cells fail through no fault of their own.
    """

    folder: pathlib.Path
    added: Callable[[cells_lib.Cell], Sequence[str]]
    places: Mapping[str, pathlib.Path]
    has_output_dir: Sequence[str] = ('train', 'pretrain')
    needed: Sequence[pathlib.Path] = ()

    def line(self, cell: cells_lib.Cell, run: pathlib.Path) -> list[str]:
        """Returns the command of a cell that writes into `run`."""
        words = [str(self.folder / f'{cell.program}.py'), *cell.arguments()]
        words += self.added(cell)
        if cell.program in self.has_output_dir:
            words.append(f'--output_dir={run}')
        # What another cell left, for instance a start.
        return [word.replace('WORK/', f'{run.parent.parent}/') for word in words]

    def published_line(self, cell: cells_lib.Cell) -> str:
        """Returns the command of a cell with words in place of directories."""
        words = self.line(cell, pathlib.Path('WORK', cell.name, 'run'))
        words[0] = f'bin/{cell.program}.py'
        return ' '.join(_quoted(word) for word in cells_lib.without_paths(words, self.places))


@dataclasses.dataclass
class _Running:
    cell: cells_lib.Cell
    process: 'subprocess.Popen[bytes]'
    began: float


def run(
    cells: Sequence[cells_lib.Cell],
    programs: Programs,
    work: pathlib.Path,
    records: pathlib.Path,
    jobs: int,
    description: str,
    *,
    secret: bool = False,
    ended: Callable[[cells_lib.Cell, pathlib.Path], None] = lambda cell, run: None,
) -> dict[str, str]:
    """Runs the cells that have no record yet; one that fails by itself stops no other.

    Args:
        cells: see `cells.check_different`.
        programs: see `Programs`.
        work: a directory of each cell's run and log, with secrets: closed to others.
        records: gets NAME.json of each cell that ended well, written in one step.
        jobs: cells at the same time.
        description: of the progress bar.
        secret: whether the number of cells is: the bar then counts seconds, and a cell that
            fails by itself has ended: its record says so.
        ended: called with a cell that has ended well and the directory of its run, before
            its record is made.

    Returns:
        Why cells failed, by name: the last line that each wrote.

    Raises:
        HostError: where the machine failed a cell, or nobody knows what did and the cells
            are secret. The others are stopped, since they would fail too; the next call
            goes on with all of them.
    """
    files.make_private_directory(work)
    records.mkdir(parents=True, exist_ok=True)
    waiting = [cell for cell in cells if not (records / f'{cell.name}.json').exists()]
    failures: dict[str, str] = {}
    running: list[_Running] = []
    with contextlib.ExitStack() as stack:
        bar = progress.bar(
            *((None, description, 's') if secret else (len(cells), description, 'cell'))
        )
        stack.enter_context(bar)
        began = time.monotonic()
        if not secret:
            bar.update(len(cells) - len(waiting))
        stack.callback(_stop, running)
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_start(waiting.pop(0), programs, work))
            time.sleep(_POLL_S)
            if secret:
                bar.update(int(time.monotonic() - began) - bar.n)
            for each in [each for each in running if each.process.poll() is not None]:
                running.remove(each)
                name = each.cell.name
                code, line = each.process.returncode, _last_line(work / name / LOG)
                if code == 0:
                    ended(each.cell, work / name / 'run')
                    record = _record(each, programs, work / name)
                    json_files.write(records / f'{name}.json', record)
                else:
                    _check_disk(work / name)
                    _check_needed(programs)
                    if ended_by_host(code) or (secret and code != _OWN_FAULT):
                        raise host_error.HostError(_said(name, code, line, secret))
                    if secret:
                        # Not tried again: that would be one more trial.
                        record = {'name': name, FAILED: True}
                        json_files.write(records / f'{name}.json', record)
                    else:
                        failures[name] = line
                if not secret:
                    bar.update()
    return failures


def ended_by_host(code: int) -> str:
    """Returns what the machine has done to a program; '' if it was not the machine.

    Args:
        code: that it ended with, minus a signal's number; programs of ours end with
            `os.EX_TEMPFAIL` where the machine fails.
    """
    if code < 0 or code >= _SIGNALS:
        return last_words.meaning(-code if code < 0 else code - _SIGNALS)
    if code == os.EX_TEMPFAIL:
        return 'the machine failed (its disk, its memory, a limit or a lost directory)'
    return ''


def _check_disk(folder: pathlib.Path) -> None:
    """Raises OSError for a full disk, of which no log can tell that lies on it."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_PROBE_BYTES))


def _check_needed(programs: Programs) -> None:
    """Raises HostError for data that went, which a cell cannot tell from a wrong path."""
    for path in programs.needed:
        if not path.exists():
            raise host_error.HostError(
                f'{path}: is not there any more; bring it back, and the same command goes on'
            )


def _said(name: str, code: int, line: str, secret: bool) -> str:
    """The line for the reader, who may not see anything of one secret cell."""
    why = ended_by_host(code) or 'a program failed'
    if secret:
        return f'{why}; nothing is released, and the same command goes on with all trials'
    shown = line.removeprefix('error: ') if 0 < code < _SIGNALS else why
    return f'{name}: {shown}; all others are stopped, and the same command goes on with them'


def read_records(
    cells: Sequence[cells_lib.Cell], records: pathlib.Path
) -> dict[str, dict[str, Any]]:
    """Returns the records that there are, by cell, in the cells' order.

    Raises:
        ValueError: in one line, for one that no run has left so.
    """
    found = {}
    for cell in cells:
        path = records / f'{cell.name}.json'
        if path.exists():
            way_out = 'delete it, and the same command runs its cell again'
            record = found[cell.name] = json_files.read(path, way_out)
            with json_files.whole(path, way_out):
                if FAILED not in record:
                    results.check(record)
    return found


def _start(cell: cells_lib.Cell, programs: Programs, work: pathlib.Path) -> _Running:
    folder = work / cell.name
    folder.mkdir(exist_ok=True)
    # It dies with this process, however that ends.
    guard = [sys.executable, '-I', '-S', worker_guard.__file__, str(os.getpid())]
    line = [sys.executable, *programs.line(cell, folder / 'run')]
    # A killed one's last words go to its own file, which has no name then.
    for name in (LOG, _OUTPUT):
        (folder / name).unlink(missing_ok=True)
    with open(folder / LOG, 'wb') as log, open(folder / _OUTPUT, 'wb') as out:
        process = subprocess.Popen(
            [*guard, *line],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            env={**os.environ, **_ENVIRONMENT},
        )
    return _Running(cell, process, time.monotonic())


def _stop(running: Sequence[_Running]) -> None:
    """Ends what is at work; its runs go on from their checkpoints the next time."""
    for each in running:
        each.process.terminate()
    for each in running:
        try:
            each.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            each.process.kill()
            each.process.wait()


def _record(each: _Running, programs: Programs, folder: pathlib.Path) -> dict[str, Any]:
    record = {
        'name': each.cell.name,
        **each.cell.to_json(),
        'shown': dict(each.cell.shown),
        'command_line': programs.published_line(each.cell),
        'seed': each.cell.flags.get('seed'),
        'wall_seconds': round(time.monotonic() - each.began, 1),
    }
    for name in _FILES:
        path = folder / 'run' / name
        if path.exists():
            record[path.stem] = json.loads(path.read_text())
    if each.cell.program not in programs.has_output_dir:
        record['printed'] = json.loads((folder / _OUTPUT).read_text())
    places = {**programs.places, 'OUT': folder / 'run'}
    return cells_lib.without_paths(record, places)


def _last_line(path: pathlib.Path) -> str:
    lines = [line.strip() for line in path.read_text(errors='replace').splitlines()]
    return next((line for line in reversed(lines) if line), 'it wrote nothing')


def _quoted(word: str) -> str:
    return f"'{word}'" if any(letter in word for letter in ' |*:;') else word

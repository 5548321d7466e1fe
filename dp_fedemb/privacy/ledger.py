"""Every release that was made from the users of a store, and what they add up to.

A file beside the store's own, `privacy_ledger.json`: entries in the order in which they
were made, each with the hash of the one before, so that a changed, removed or inserted
entry is found. The number of entries and the last hash stand a second time in
`privacy_ledger.head`, so that a ledger that was cut or deleted is found, too. Nothing is
repaired in silence: what is found is written into the next entry and stays.

This is bookkeeping among people who want it right, not a defence against who wants it wrong.

The sum is that of basic composition: epsilons and deltas of all runs, each with all of its
rounds. A run that goes on appends an entry that takes the place of its last one.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import math
import os
import pathlib
from typing import Any, Optional

from dp_fedemb import drafts
from dp_fedemb import files
from dp_fedemb import json_files
from dp_fedemb import validate
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import rounding

LEDGER, HEAD = 'privacy_ledger.json', 'privacy_ledger.head'
_LOCK = '.privacy_ledger.lock'
_FIRST = '0' * 64
# How problems are told: of those that entries note, between two of them, and how many.
_NOTED, _AND = 'before entry ', '; '
_MOST_SHOWN, _LINE = 20, 300
# 50,000 entries; whoever writes more by hand shall not fill the memory of who reads them.
_MOST_BYTES = 1 << 25


@dataclasses.dataclass(frozen=True)
class Entry:
    """What one run has released so far.

    Attributes:
        run: a name of the run that no other has, the same whenever it goes on.
        directory: where it is, for people.
        rounds: rounds released.
        epsilon: of a user by the run's rounds; None if they have no guarantee.
        delta: with it; None without.
        planned_epsilon: of all rounds that the run means to make; None without a guarantee.
        plan: `PrivacyPlan.to_json()`.
        data: fingerprint of the store's contents, keyed or not.
        note: what was wrong with the ledger when this was written; empty for nothing.
    """

    run: str
    directory: str
    rounds: int
    epsilon: Optional[float]
    delta: Optional[float]
    planned_epsilon: Optional[float]
    plan: dict[str, Any]
    data: str = ''
    note: str = ''


@dataclasses.dataclass(frozen=True)
class Ledger:
    """The entries of a store, and what is wrong with their file.

    Attributes:
        entries: oldest first.
        problems: in words; empty if the file is as it was written.
    """

    entries: tuple[Entry, ...]
    problems: tuple[str, ...]

    def latest(self) -> dict[str, Entry]:
        """Returns for every run the entry with the most spent, in order of beginning."""
        runs: dict[str, Entry] = {}
        for entry in self.entries:
            known = runs.get(entry.run)
            if known is None or _cost(entry.epsilon) >= _cost(known.epsilon):
                runs[entry.run] = entry
        return runs

    def spent(self, without: Optional[str] = None) -> tuple[float, float]:
        """Returns epsilon and delta of all releases; infinite if one has no guarantee.

        Args:
            without: a run that is left out.
        """
        counted = [entry for run, entry in self.latest().items() if run != without]
        epsilon = math.fsum(_cost(entry.epsilon) for entry in counted)
        return epsilon, math.fsum(entry.delta or 0.0 for entry in counted)

    def reserved(self, without: Optional[str] = None) -> float:
        """Returns what runs that are not at their end mean to spend beside `spent`."""
        counted = [entry for run, entry in self.latest().items() if run != without]
        left = [
            _cost(entry.planned_epsilon) - entry.epsilon
            for entry in counted
            if entry.epsilon is not None
        ]
        return math.fsum(max(each, 0.0) for each in left)


def read(store: files.PathLike) -> Ledger:
    """Reads the ledger of a store; an empty one if there never was one.

    Args:
        store: the store's directory.
    """
    directory = pathlib.Path(store)
    records, problems = _records(directory / LEDGER)
    entries: list[Entry] = []
    last: Any = _FIRST
    for number, record in enumerate(records):
        fits = record.get('previous') == last
        last = record.get('hash')
        try:
            entry = _read_entry(record)
        except (KeyError, TypeError, ValueError) as error:
            reason = str(error) if isinstance(error, ValueError) else 'is not one'
            problems.append(f'entry {number + 1} {reason}')
            continue
        if not fits or last != _hash(record['previous'], entry):
            problems.append(f'entry {number + 1} was changed, or one before it is missing')
        entries.append(entry)
    problems += _compare_with_head(directory / HEAD, [record.get('hash') for record in records])
    notes = [f'{_NOTED}{i + 1}: {e.note}' for i, e in enumerate(entries) if e.note]
    problems = _shortened(problems) + _shortened(notes, f'{_NOTED}{len(entries)}: ')
    return Ledger(tuple(entries), tuple(problems))


def remove_drafts(store: files.PathLike) -> None:
    """Removes what a writer that was killed left beside the ledger."""
    for name in (LEDGER, HEAD):
        drafts.remove_abandoned(pathlib.Path(store) / name)


def append(
    store: files.PathLike, entry: Entry, check: Callable[[Ledger], None] = lambda ledger: None
) -> None:
    """Adds an entry, whole and durable when this returns.

    Args:
        store: the store's directory.
        entry: its `note` is filled in if the ledger is not as it was written.
        check: looks at what stands there, as one step with adding to it; where it raises,
            nothing is written.
    """
    directory = pathlib.Path(store)
    with _locked(directory):
        ledger = read(directory)
        check(ledger)
        _append(directory, ledger, entry)


def entry_of(
    statement: dict[str, Any],
    plan: plan_lib.PrivacyPlan,
    run: str,
    directory: files.PathLike,
    data: str = '',
) -> Entry:
    """Returns the entry for a statement: nothing counts that the statement calls not private.

    Args:
        statement: of the rounds released so far.
        plan: of the run.
        run: see `Entry`.
        directory: of the run.
        data: see `Entry`.
    """
    # What came before the run is in the ledgers of its own data.
    private = statement.get('private_by_itself', statement['private'])
    return Entry(
        run=run,
        directory=str(directory),
        rounds=statement['rounds_completed'],
        epsilon=statement['epsilon_user'] if private else None,
        delta=statement['delta'] if private else None,
        planned_epsilon=rounding.rounded_up(plan.epsilon()) if private else None,
        plan=plan.to_json(),
        data=data,
    )


def _read_entry(record: dict[str, Any]) -> Entry:
    """Returns what a record holds; raises ValueError for a value that no writer writes."""
    entry = Entry(**record['entry'])
    for name in ('run', 'directory', 'data', 'note'):
        if not isinstance(getattr(entry, name), str):
            raise ValueError(f'has a {name} that is no text')
    if not isinstance(entry.plan, dict):
        raise ValueError('has a plan that is none')
    validate.whole('[0, 1e12]', rounds=entry.rounds)
    for name in ('epsilon', 'delta', 'planned_epsilon'):
        if getattr(entry, name) is not None:
            validate.within('[0, 1e300]', **{name: getattr(entry, name)})
    return entry


def _shortened(problems: list[str], of_rest: str = '') -> list[str]:
    """Returns the first problems, each cut; who edits can make a million."""
    shown = [each[:_LINE] + '...' * (len(each) > _LINE) for each in problems[:_MOST_SHOWN]]
    rest = len(problems) - len(shown)
    return shown + [f'{of_rest}{rest:,} more of these'] * (rest > 0)


def _append(directory: pathlib.Path, ledger: Ledger, entry: Entry) -> None:
    records, broken = _records(directory / LEDGER)
    # What an entry notes already is none.
    noted = {text for entry in ledger.entries for text in entry.note.split(_AND) if text}
    found = [problem for problem in ledger.problems if not problem.startswith(_NOTED)]
    if news := [problem for problem in found if problem not in noted]:
        entry = dataclasses.replace(entry, note=_AND.join(news))
    if broken and (directory / LEDGER).exists():
        # Not to be read any more, and not to be lost either.
        os.replace(directory / LEDGER, directory / f'{LEDGER}.damaged')
        records = []
    last = str(records[-1].get('hash') or _FIRST) if records else _FIRST
    record = {
        'previous': last,
        'hash': _hash(last, entry),
        'entry': dataclasses.asdict(entry),
    }
    records.append(record)
    if len(records) == 1 and not (directory / HEAD).exists():
        # So that a head that is missing is one that was lost.
        _write_head(directory, 0, _FIRST)
    # The ledger first: a head that is one entry behind is told from a ledger that was cut.
    json_files.write(directory / LEDGER, {'entries': records})
    _write_head(directory, len(records), _hash(last, entry))


def _write_head(directory: pathlib.Path, count: int, last: str) -> None:
    head = {'entries': count, 'hash': last}
    json_files.write(directory / HEAD, head)


def _records(path: pathlib.Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The records of a file as they stand, and what makes it unreadable."""
    try:
        if path.exists() and path.stat().st_size > _MOST_BYTES:
            raise ValueError(f'{path.stat().st_size:,} bytes, more than any has')
        records = json.loads(files.read_bytes(path))['entries']
        # Nested so deeply that it could not be written again: refused at once.
        json_files.text(records)
    except FileNotFoundError:
        return [], []
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return [], [f'{path.name} cannot be read ({error.__class__.__name__}: {error})']
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        return [], [f'{path.name} is not a list of entries']
    return records, []


def _compare_with_head(path: pathlib.Path, hashes: Sequence[Optional[str]]) -> list[str]:
    try:
        head = json.loads(files.read_bytes(path))
        count, last = head['entries'], head['hash']
        validate.whole('[0, 1e12]', entries=count)
    except FileNotFoundError:
        return [f'{path.name} is missing'] if hashes else []
    except (ValueError, KeyError, TypeError, RecursionError):
        return [f'{path.name} cannot be read']
    if not hashes:
        return [f'the ledger is lost: it had {count} entries'] if count else []
    # One more than the head knows: the writer was stopped between the two files.
    if len(hashes) not in (count, count + 1) or (count and hashes[count - 1] != last):
        return [f'{len(hashes)} entries, and {path.name} knows of {count} others']
    return []


def _hash(previous: str, entry: Entry) -> str:
    text = json.dumps([previous, dataclasses.asdict(entry)], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode('utf-8')).hexdigest()


def _cost(epsilon: Optional[float]) -> float:
    return math.inf if epsilon is None else epsilon


@contextlib.contextmanager
def _locked(directory: pathlib.Path) -> Iterator[None]:
    """One writer at a time; the lock goes with its process."""
    if not directory.is_dir():
        raise FileNotFoundError(f'{directory}: no such directory; expected that of a store')
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

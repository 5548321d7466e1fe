"""What the measurements share: interleaving, medians, memory, the report of a group.

Every group is a program of its own (`python bin/benchmarks/GROUP.py [--quick]`), so
that thread settings, memory and start-up of one do not disturb another. It prints one
line of JSON: key -> {"value": ..., further figures}.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def quick() -> bool:
    """Whether the group was asked for few repetitions."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--quick', action='store_true')
    return parser.parse_args().quick


def report(results: dict) -> None:
    """Prints a group's results for the runner."""
    print('BENCHMARK ' + json.dumps(results), flush=True)


def single_threaded_operations() -> None:
    """One thread inside an operation, as in the worker; call before TensorFlow runs."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(cores())


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def rate(work) -> float:
    """Examples per second of one call of `work`, which returns its examples."""
    start = time.perf_counter()
    examples = work()
    return examples / (time.perf_counter() - start)


def per_processor_second(work) -> float:
    """As `rate`, per second of processor time of this process and those below it.

    For what is as parallel as what it is compared with: other programs change it little.
    """
    start = _processor_seconds()
    examples = work()
    return examples / max(_processor_seconds() - start, 1 / os.sysconf('SC_CLK_TCK'))


def interleaved(works: dict, repetitions: int, rate=rate) -> dict[str, list[float]]:
    """Rates of several works in turn, A B A B ..., after one round that is not counted.

    The machines are noisy and drift; neighbouring measurements drift together, so
    ratios are taken pair by pair.
    """
    rates = {name: [] for name in works}
    for repetition in range(repetitions + 1):
        for name, work in works.items():
            measured = rate(work)
            if repetition:
                rates[name].append(measured)
    return rates


def ratio(rates: dict[str, list[float]], ours: str, theirs: str) -> dict:
    """The median of the pairwise ratios, with the spread and both rates."""
    pairs = [a / b for a, b in zip(rates[ours], rates[theirs])]
    return {
        'value': statistics.median(pairs),
        'min': min(pairs),
        'max': max(pairs),
        f'{ours}_per_s': statistics.median(rates[ours]),
        f'{theirs}_per_s': statistics.median(rates[theirs]),
        'pairs': len(pairs),
    }


class PeakMemory:
    """Most resident memory of this process and all below it, while entered, in MiB."""

    def __enter__(self) -> 'PeakMemory':
        self.peak = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *unused):
        self._stop.set()
        self._thread.join()

    def _watch(self):
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, resident())


def resident() -> float:
    """Resident memory of this process and its descendants, MiB."""
    pages = sum(size for size, _ in _processes().values())
    return pages * os.sysconf('SC_PAGESIZE') / 2**20


def _processor_seconds() -> float:
    """What this process and its descendants have used."""
    return sum(ticks for _, ticks in _processes().values()) / os.sysconf('SC_CLK_TCK')


def _processes() -> dict[int, tuple[int, int]]:
    """Pages and clock ticks of this process and its descendants, by number."""
    parents, used = {}, {}
    for folder in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            status = (folder / 'stat').read_text().rsplit(')', 1)[1].split()
            pages = int((folder / 'statm').read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        number = int(folder.name)
        parents[number] = int(status[1])
        # User and system, fields 14 and 15 of proc(5).
        used[number] = pages, int(status[11]) + int(status[12])
    ours, grown = {os.getpid()}, True
    while grown:
        below = {pid for pid, parent in parents.items() if parent in ours} - ours
        ours |= below
        grown = bool(below)
    return {pid: used[pid] for pid in ours if pid in used}

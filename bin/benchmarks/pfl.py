"""Rounds against those of pfl-research, which runs in an environment of its own.

Python of that environment: variable DP_FEDEMB_PFL_PYTHON. docs/performance.md says how
to make one.
"""

import measuring

measuring.single_threaded_operations()

import contextlib
import os
import statistics
import subprocess
import tempfile

import workloads

from dp_fedemb.engines import runtime

PYTHON_VARIABLE = 'DP_FEDEMB_PFL_PYTHON'
SCRIPT = measuring.ROOT / 'bin' / 'benchmarks' / 'pfl_research' / 'rounds.py'
VIRTUAL_CLIENTS, USERS, IMAGES = 16, 8, 20


class PflRounds:
    """Rounds of pfl-research with some number of threads."""

    def __init__(self, python: str, threads: int):
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [
                python,
                str(SCRIPT),
                str(threads),
                str(VIRTUAL_CLIENTS),
                str(USERS * IMAGES),
                str(USERS),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def __call__(self) -> int:
        try:
            self._process.stdin.write('\n')
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # It has ended, and so do its lines.
        for line in self._process.stdout:
            if line.startswith('ROUND '):
                return int(line.split()[1])
        raise RuntimeError(f'pfl-research ended: {self._errors()}')

    def _errors(self):
        self._log.seek(0)
        return self._log.read().decode(errors='replace').strip()[-500:]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def main():
    quick = measuring.quick()
    python = os.environ.get(PYTHON_VARIABLE)
    if not python:
        measuring.report(
            {
                'throughput_vs_pfl': {
                    'skipped': f'{PYTHON_VARIABLE} names no Python with pfl;'
                    ' see docs/performance.md'
                }
            }
        )
        return
    cores = measuring.cores()
    with contextlib.ExitStack() as stack:
        theirs = {}
        for threads in sorted({1, cores, 2 * cores}):
            theirs[threads] = PflRounds(python, threads)
            stack.callback(theirs[threads].stop)
        rates = measuring.interleaved(theirs, 2)
        best = max(rates, key=lambda threads: statistics.median(rates[threads]))
        local = stack.enter_context(runtime.LocalRuntime(cores))
        store = workloads.random_store(2000, IMAGES)
        ours = workloads.rounds(workloads.lenet(), store, VIRTUAL_CLIENTS, USERS, local)
        works = {'rounds': ours, 'pfl': theirs[best]}
        result = measuring.ratio(
            measuring.interleaved(works, 3 if quick else 7), 'rounds', 'pfl'
        )
    result['pfl_threads'] = best
    measuring.report({'throughput_vs_pfl': result})


if __name__ == '__main__':
    main()

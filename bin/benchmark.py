"""Measures speed and memory as ratios, each within one interleaved run.

    bin/benchmark.py [--quick] [--json] [--gate] [--only=throughput,memory]

What the figures mean and what they were: docs/performance.md.
"""

import json
import os
import pathlib
import subprocess
import sys

from absl import flags

from flags import program

FLAGS = flags.FLAGS

flags.DEFINE_bool('quick', False, 'Fewer repetitions, sizes and groups; under a minute.')
flags.DEFINE_bool('json', False, 'Print one JSON object instead of a table.')
flags.DEFINE_bool('gate', False, 'End with code 1 where a target is missed.')
flags.DEFINE_list('only', [], 'Groups to run: programs of bin/benchmarks/.')

_GROUPS = (
    'throughput',
    'pfl',
    'memory',
    'startup',
    'evaluation',
    'workers',
    'resnet50',
    'noise',
)
_QUICK_GROUPS = ('throughput', 'evaluation')

# Key -> target: a lower bound, or an upper one after '<'.
_TARGETS = {
    'throughput_vs_limit': 0.95,
    'small_clients_vs_limit': 0.9,
    'throughput_vs_tff': 1.8,
    'throughput_vs_pfl': 1.4,
    'bfloat16_gain': 1.25,
    'client_overhead_ms': '<1',
    'identities_ratio': 0.95,
    'rss_clients_ratio': '<1.1',
    'rss_rounds_ratio': '<1.05',
    'retraces_after_warmup': '<0',
    'startup_s': '<4',
    'eval_pairs_per_s': 0.3,
    'workers2_ratio': 0.9,
    'resnet50': 0.95,
    'noise_share': '<0.1',
    'noise_share_resnet50': '<0.1',
}


class GroupFailedError(Exception):
    """A group ended without its figures."""


def main(_):
    chosen = FLAGS.only or (_QUICK_GROUPS if FLAGS.quick else _GROUPS)
    unknown = sorted(set(chosen) - set(_GROUPS))
    if unknown:
        raise ValueError(f'only={",".join(unknown)}: expected some of {", ".join(_GROUPS)}')
    results, failures = {}, []
    for group in chosen:
        print(f'measuring {group} ...', file=sys.stderr, flush=True)
        try:
            results.update(_run(group))
        except GroupFailedError as error:
            failures.append(str(error))
            print(f'error: {error}', file=sys.stderr, flush=True)
    print(json.dumps(results) if FLAGS.json else _table(results))
    if failures:
        sys.exit(f'error: {len(failures)} of {len(chosen)} groups failed')
    missed = sorted(
        key
        for key, figures in results.items()
        if 'skipped' not in figures and not _met(figures['value'], _TARGETS[key])
    )
    if FLAGS.gate and missed:
        sys.exit(f'error: missed the target of {", ".join(missed)}')


def _run(group):
    """Runs a group as a program of its own; returns key -> figures."""
    script = pathlib.Path(__file__).parent / 'benchmarks' / f'{group}.py'
    result = subprocess.run(
        [sys.executable, str(script), *(['--quick'] if FLAGS.quick else [])],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
    )
    for line in result.stdout.splitlines():
        if line.startswith('BENCHMARK '):
            return json.loads(line.removeprefix('BENCHMARK '))
    raise GroupFailedError(f'{group} failed: {_last_error(result)}')


def _last_error(result):
    """The line of standard error that names the exception, or what else there is."""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    named = [line for line in lines if line.split(':')[0].endswith(('Error', 'Exception'))]
    # TFF complains at exit about a worker that it did not start.
    named = [line for line in named if "'NoneType' object has no attribute 'Popen'" not in line]
    return (named or lines or [f'it ended with code {result.returncode}'])[-1][:500]


def _table(results):
    from dp_fedemb import tables

    rows = [('measurement', 'value', 'target', 'further figures')]
    for key, figures in results.items():
        if 'skipped' in figures:
            rows.append((key, 'skipped', '', figures['skipped']))
            continue
        target = _TARGETS[key]
        bound = f'<= {target[1:]}' if isinstance(target, str) else f'>= {target:g}'
        more = ', '.join(
            f'{name} {value:,.4g}' for name, value in figures.items() if name != 'value'
        )
        verdict = '' if _met(figures['value'], target) else '  MISSED'
        rows.append((key, f'{figures["value"]:.3f}', bound, more + verdict))
    return tables.text(rows, 'lrrl')


def _met(value, target):
    return value <= float(target[1:]) if isinstance(target, str) else value >= target


if __name__ == '__main__':
    program.run(main)

"""Whole lives of runs under SIGKILL at random moments; see lives.py."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize('engine, kills', [('tff', 140), ('in_process', 60)])
def test_lives_under_kills_end_as_the_undisturbed_one(tiny, tmp_path, engine, kills):
    flags = [flag for flag in tiny if not flag.startswith('--rounds=')]
    program = [sys.executable, str(ROOT / 'tests/end_to_end/lives.py')]
    random_seed = int(os.environ.get('LIVES_SEED', 0))
    result = subprocess.run(
        [*program, str(tmp_path), str(kills), str(random_seed), engine, *flags, '--rounds=6'],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    print(result.stdout)
    assert result.returncode == 0, result.stderr[-4000:]
    *records, summary = [json.loads(line) for line in result.stdout.splitlines()]
    assert summary['kills'] == kills == len(records)
    # All stages were hit, and whatever can be killed.
    assert {record['stage'] for record in records} == {'train', 'evaluate', 'embed', 'export'}
    targets = {'driver', 'group', 'worker'} if engine == 'tff' else {'driver', 'group'}
    assert {record['killed'] for record in records} == targets

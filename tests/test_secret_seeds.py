"""The secret seeds of programs that tests start follow from the test; those of users do not."""

import os
import subprocess
import sys

import dp_fedemb

DRAW = f"""
import sys
sys.path.append({os.path.dirname(os.path.dirname(dp_fedemb.__file__))!r})
from dp_fedemb import randomness
print(randomness.new_secret_seed(), randomness.new_secret_seed())
"""


def seeds(output, **changes):
    environment = {**os.environ, **changes}
    command = [sys.executable, '-c', DRAW, f'--output_dir={output}']
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return [int(seed) for seed in done.stdout.split()]


def test_programs_of_a_test(tmp_path):
    first, second = seeds(tmp_path / 'run')
    assert [first, second] == seeds(tmp_path / 'run')
    others = seeds(tmp_path / 'other'), seeds(tmp_path / 'run', DP_FEDEMB_TEST='another')
    assert len({first, second, *others[0], *others[1]}) == 6
    # pytest's directories are counted, of all the tests that a worker happens to run.
    counted = tmp_path.parent / f'{tmp_path.name}7' / 'run'
    assert [first, second] == seeds(counted)


def test_programs_of_users(tmp_path):
    first = seeds(tmp_path / 'run', PYTHONPATH='')
    assert not set(first) & set(seeds(tmp_path / 'run', PYTHONPATH=''))
    assert max(first) >> 96

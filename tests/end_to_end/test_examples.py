"""The examples are run as a reader would run them."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXPECTED = {
    'own_tff_pipeline.py': 'moved: backbone [True, True], classifier [False, False]',
    'private_photos.py': 'similarity of two photos: ',
    'read_a_statement.py': 'computed again: epsilon = ',
}


def test_every_example_is_known():
    there = {path.name for path in (ROOT / 'examples').glob('*.py')}
    assert there == {*EXPECTED, 'small_collections.py'}


@pytest.mark.parametrize('name', sorted(EXPECTED))
def test_it_runs(name, tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / 'examples' / name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            'TF_CPP_MIN_LOG_LEVEL': '3',
            'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ['PYTHONPATH']]),
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert EXPECTED[name] in done.stdout


def test_small_collections_are_made(tmp_path):
    program = ROOT / 'examples' / 'small_collections.py'
    command = [sys.executable, program, 'portraits', 'people', '--seed=1']
    subprocess.run(command, cwd=tmp_path, check=True)
    people = list((tmp_path / 'people').iterdir())
    assert len(people) == 40 and all(len(list(each.iterdir())) == 10 for each in people)
    lines = (tmp_path / 'people.txt').read_text().splitlines()
    assert sum('train' in line for line in lines) == 24

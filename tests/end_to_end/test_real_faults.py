"""A host that fails under a real run costs neither rounds nor budget; see real_faults.py."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
_NO_DISK = 40


def check(tiny, folder, names):
    flags = [flag for flag in tiny if not flag.startswith('--rounds')]
    flags += ['--rounds=8', '--rounds_per_eval=1', '--rounds_per_checkpoint=2']
    flags += [f'--seed={2**100 + 9}', '--engine=in_process']
    result = subprocess.run(
        [sys.executable, ROOT / 'tests/end_to_end/real_faults.py', folder, names, *flags],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if result.returncode == _NO_DISK:
        pytest.skip('no namespaces of mounts here')
    print(result.stdout)
    assert result.returncode == 0, result.stderr[-4000:]
    return {found['fault']: found for found in map(json.loads, result.stdout.splitlines())}


@pytest.mark.timeout(3600)
def test_a_full_disk_loses_nothing(tiny, tmp_path):
    found = check(tiny, tmp_path, 'full disk')
    assert 'free some space on the disk' in found['full disk']['line']


@pytest.fixture
def folder():
    """One that an unknown user can enter, as pytest's own cannot be."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o711)
        yield path


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_no_fault_loses_anything(tiny, folder):
    found = check(tiny, folder, '')
    assert len(found) == 12
    assert 'ulimit -n' in found['no file handles']['line']
    assert 'ulimit -f' in found['small files']['line']
    assert 'writable again' in found['read-only disk']['line']
    assert 'stopped by SIGBUS' in found['store cut while it is read']['line']

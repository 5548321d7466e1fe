"""Two processes that want the same stores make them once."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from dp_fedemb.data import cache

ROOT = pathlib.Path(__file__).parents[2]
# Says that it builds, and goes on when it is told to.
PROGRAM = """
import sys
import numpy as np
from dp_fedemb.data import cache, store_writer

def build(directory):
    print('builds', flush=True)
    sys.stdin.readline()
    with store_writer.UserStoreWriter(directory / 'train', (2, 2, 1)) as writer:
        writer.add_user(np.zeros((3, 2, 2, 1), np.uint8), [0, 0, 1], 'of the first')

stores = cache.cached_stores(sys.argv[1], 'thing', {}, build)
print(stores['train'].user_names, flush=True)
"""
OWN_NAMESPACE = ['unshare', '--pid', '--fork', '--kill-child']


def have_namespaces():
    if shutil.which('unshare') is None:
        return False
    return subprocess.run([*OWN_NAMESPACE, 'true'], capture_output=True).returncode == 0


def start(path, prefix):
    return subprocess.Popen(
        [*prefix, sys.executable, '-c', PROGRAM, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.parametrize('first_ends', ['well', 'killed'])
@pytest.mark.parametrize('prefix', [[], OWN_NAMESPACE], ids=['processes', 'containers'])
def test_the_second_conversion_waits_for_the_first(tmp_path, prefix, first_ends):
    if prefix and not have_namespaces():
        pytest.skip('no PID namespaces here')
    first = start(tmp_path, prefix)
    assert first.stdout.readline() == 'builds\n'
    second = start(tmp_path, prefix)
    assert 'another process is converting the same' in second.stderr.readline()
    if first_ends == 'killed':
        first.send_signal(signal.SIGKILL)
        first.communicate()
        # The lock went with it, and the second makes them itself.
        assert second.stdout.readline() == 'builds\n'
        assert second.communicate('go\n')[0] == "['of the first']\n"
    else:
        assert first.communicate('go\n')[0] == "['of the first']\n"
        # It did not build.
        assert second.communicate('go\n')[0] == "['of the first']\n"
    assert second.returncode == 0
    assert len(os.listdir(tmp_path / 'thing')) == 1


def test_who_only_reads_a_cache_waits_for_nobody(tmp_path):
    first = start(tmp_path, [])
    assert first.communicate('go\n')[0].startswith('builds')

    def build(directory):
        raise AssertionError('not reached')

    stores = cache.cached_stores(tmp_path, 'thing', {}, build)
    assert stores['train'].num_examples == 3


@pytest.mark.parametrize('umask', [0o022, 0o077])
def test_what_is_open_for_colleagues_stays_open(tmp_path, umask):
    file = tmp_path / 'file'
    file.write_text('one')
    memory = tmp_path / 'fingerprints.json'
    before = os.umask(umask)
    try:
        cache.file_fingerprint(file, tmp_path)
        assert memory.stat().st_mode & 0o777 == 0o600
        memory.chmod(0o640)
        file.write_text('two, so that it is written again')
        cache.file_fingerprint(file, tmp_path)
        assert memory.stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)

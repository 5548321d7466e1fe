"""The recipe of docs/workers.md: a worker behind a socket that SSH passes on."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb.engines import remote_engine
from dp_fedemb.engines import worker_process

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_WORKER = [sys.executable, _ROOT / 'bin/worker.py', '--cores=1']
_SSHD = shutil.which('sshd', path=f'{os.environ["PATH"]}:/usr/sbin')
_NEEDED = (
    _SSHD
    and shutil.which('ssh')
    and shutil.which('ssh-keygen')
    and worker_process.why_not_isolated() is None
)


@tff.tensorflow.computation
def answer():
    return (tf.constant(42),)


def recipe(**places):
    """Options of the `ssh` command that docs/workers.md gives, with other places."""
    text = (_ROOT / 'docs/workers.md').read_text()
    [command] = re.findall(r'^(ssh -N (?:.*\\\n)*.*) host1 &$', text, re.MULTILINE)
    words = command.replace('\\\n', ' ').split()
    forward = words.index('-L') + 1
    assert words[forward] == '$HOME/worker1.sock:/home/you/worker.sock'
    words[forward] = f'{places["here"]}:{places["there"]}'
    return words


@pytest.fixture
def server(process_checks, tmp_path):
    """An SSH server for this user alone: (port, options of its client)."""
    for name in ('host', 'user'):
        key = ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', tmp_path / name]
        subprocess.run(key, check=True)
    port = process_checks.free_port()
    (tmp_path / 'sshd_config').write_text(
        f'Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nUsePAM no\n'
        f'AuthorizedKeysFile {tmp_path}/user.pub\nStrictModes no\nPidFile none\n'
        'PasswordAuthentication no\nPermitRootLogin prohibit-password\n'
    )
    command = [_SSHD, '-D', '-e', '-f', tmp_path / 'sshd_config']
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        if 'listening' not in line:
            pytest.skip(f'sshd does not start here: {line}')
        yield [
            *('-F', 'none', '-i', f'{tmp_path}/user', '-p', str(port)),
            *('-o', 'StrictHostKeyChecking=no', '-o', f'UserKnownHostsFile={tmp_path}/known'),
            *('-o', 'BatchMode=yes', '127.0.0.1'),
        ]
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.skipif(not _NEEDED, reason='needs ssh, sshd and network namespaces')
def test_a_driver_reaches_the_worker_by_the_recipe_alone(server, process_checks, short_folder):
    there, here = short_folder / 'there.sock', short_folder / 'here.sock'
    with process_checks.running([*_WORKER, f'--socket={there}']) as program:
        program.wait_for_line(f'is ready: unix:{there}')
        ssh = subprocess.Popen([*recipe(here=here, there=there), *server])
        try:
            assert process_checks.wait_until(here.exists)
            assert here.stat().st_mode & 0o777 == 0o600
            with remote_engine.RemoteRuntime([f'unix:{here}']) as remote:
                executor = remote.workers[0].executor
                assert executor.call(executor.create_function(answer), [])[0] == 42
            # What the driver leaves behind is forgotten through SSH too.
            program.wait_for_line('is ready')
        finally:
            ssh.terminate()
            ssh.wait()

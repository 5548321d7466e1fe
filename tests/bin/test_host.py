"""Errors of the machine: what is said, and that nothing else passes for one."""

import errno
import os
import pathlib
import sys

import pytest
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'bin'))

from flags import host
from flags import many_runs

from dp_fedemb import configured_directory
from dp_fedemb import files
from dp_fedemb import host_error


@pytest.mark.parametrize(
    'error, words',
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), '/run/x'), '/run/x: No space'),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), 'ulimit -n'),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), 'writable again'),
        (MemoryError(), 'free memory'),
        (RuntimeError("can't start new thread"), 'ulimit -u'),
        (tf.errors.InternalError(None, None, 'in user code: MemoryError: x'), 'free memory'),
        (RuntimeError("in a layer: can't allocate read lock"), 'free memory'),
        (tf.errors.ResourceExhaustedError(None, None, 'OOM when allocating'), 'free memory'),
        (ImportError('numpy: x.so: failed to map segment from shared object'), 'free memory'),
        (ImportError('x.so: cannot open: Too many open files'), 'ulimit -n'),
        (
            tf.errors.AbortedError(
                None, None, 'x: Status: 1, message: could not create a primitive, in file y'
            ),
            'free memory',
        ),
        (FileNotFoundError('of TensorFlow; Too many open files'), 'ulimit -n'),
        (tf.errors.UnknownError(None, None, 'x; No space left on device'), 'free some space'),
    ],
)
def test_trouble_of_the_host_says_what_to_do(error, words):
    line = host.trouble(error)
    assert words in line and line.endswith('then run the same command again')


def test_what_ended_a_cell_is_said_as_it_was_told():
    assert host.trouble(host_error.HostError('one: No space left on device')).startswith('one')


def test_a_directory_that_was_moved_away_is_to_be_brought_back(tmp_path):
    directory = configured_directory.ConfiguredDirectory(tmp_path / 'run')
    with pytest.raises(configured_directory.VanishedError) as caught:
        with directory.locked():
            directory.path.rename(tmp_path / 'elsewhere')
            directory.write_text('x', 'x')
    assert 'bring it back' in host.trouble(caught.value)
    with pytest.raises(configured_directory.VanishedError):
        with directory.locked():
            directory.path.rename(tmp_path / 'there')
            directory.path.mkdir()
            directory.check_here()
    with pytest.raises(FileNotFoundError) as other, directory.locked():
        (directory.path / 'nothing').read_text()
    assert host.trouble(other.value) is None


@pytest.mark.parametrize(
    'error',
    [
        ValueError('No space left on device'),
        RuntimeError('a bug'),
        FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), 'x'),
        tf.errors.InvalidArgumentError(None, None, 'a bug'),
        KeyError('x'),
        ImportError('No module named x'),
        ImportError('x.so: cannot allocate memory in static TLS block'),
    ],
)
def test_other_errors_are_not_the_hosts(error):
    assert host.trouble(error) is None


@pytest.mark.parametrize(
    'number, advice',
    [
        (errno.ENOENT, 'bring back what was there'),
        (errno.EISDIR, 'bring back what was there'),
        (errno.EACCES, 'change its permissions'),
    ],
)
def test_a_path_is_no_slip_of_the_pen_once_a_program_is_at_work(number, advice):
    with pytest.raises(host_error.HostError) as caught, host.at_work():
        raise OSError(number, os.strerror(number), '/data/examples.bin')
    line = host.trouble(caught.value)
    assert line.startswith('/data/examples.bin: ') and advice in line
    assert line.endswith('then run the same command again')


@pytest.mark.parametrize(
    'error',
    [
        ValueError('clip_norm=0'),
        files.NoFileError('x: is no file'),
        FileExistsError('x: is not empty'),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'x'),
        ConnectionRefusedError(errno.ECONNREFUSED, 'no'),
    ],
)
def test_what_else_is_raised_at_work_stays_what_it_is(error):
    with pytest.raises(type(error)) as caught, host.at_work():
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ('body', 'said'),
    [
        ('import os; os.kill(os.getpid(), 9)', 'stopped by SIGKILL: by somebody, or by the'),
        ('print(\'{"trouble": "x: No space left on device"}\')', 'x: No space left'),
    ],
)
def test_what_ends_the_check_of_many_runs_is_the_machines(tmp_path, monkeypatch, body, said):
    (tmp_path / 'asked.py').write_text(body)
    monkeypatch.setattr(many_runs, '__file__', str(tmp_path / 'asked.py'))
    with pytest.raises(host_error.HostError, match=said):
        many_runs.ask({'program': 'train'})

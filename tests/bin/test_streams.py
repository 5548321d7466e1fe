"""Programs whose standard streams are closed, full or read by nobody."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EPSILON = [
    *(sys.executable, str(ROOT / 'bin' / 'privacy.py'), 'epsilon'),
    *('--num_users=3400', '--noise_multiplier=1', '--rounds=2'),
]


@pytest.mark.parametrize(
    ('redirection', 'added', 'code', 'said', 'lines'),
    [
        ('>&-', '', 0, None, 0),
        ('<&- >&-', '--nope=0', 2, 'error: ', 1),
        ('2>&-', '--nope=0', 2, None, 0),
        ('>/dev/full', '', os.EX_TEMPFAIL, 'error: No space left', 1),
        ('>/dev/full 2>/dev/full', '', os.EX_TEMPFAIL, None, 0),
        ('| true', '', os.EX_TEMPFAIL, 'error: Broken pipe: keep what reads', 1),
    ],
)
def test_one_line_and_a_code(tmp_path, redirection, added, code, said, lines):
    command = ' '.join([*EPSILON, added, '--json', redirection])
    done = subprocess.run(
        # So that the reader is gone when the program writes.
        ['bash', '-c', f'set -o pipefail; {command}'],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == code, done
    # Nothing of one stream goes to the other.
    assert done.stdout == '' and len(done.stderr.splitlines()) == lines, done
    assert said is None or done.stderr.startswith(said)
    assert not list(tmp_path.iterdir())


def test_closed_streams_lend_their_numbers_to_no_file(tmp_path):
    script = f"""
import os, sys
sys.path.insert(0, {str(ROOT / 'bin')!r})
from flags import program
def main(_):
    with open('written', 'w') as file:
        print('all', file=file)
        os.write(1, b'by C')
        os.write(2, b'by C')
program.run(main)
"""
    command = [sys.executable, '-c', script]
    done = subprocess.run(
        ['bash', '-c', '"$0" "$@" <&- >&- 2>&-', *command], cwd=tmp_path, check=False
    )
    assert done.returncode == 0 and (tmp_path / 'written').read_text() == 'all\n'


@pytest.mark.parametrize(
    ('body', 'code', 'said'),
    [
        ('os.kill(os.getpid(), signal.SIGINT)', 130, 'stopped by SIGINT; run the same command'),
        (
            'os.kill(os.getpid(), signal.SIGTERM)',
            143,
            'stopped by SIGTERM; run the same command',
        ),
        # As `timeout` does it.
        (
            'signals.time = types.SimpleNamespace(sleep=once_more)\n'
            '    try: os.kill(os.getpid(), signal.SIGTERM)\n'
            '    finally: sent or os.kill(os.getpid(), signal.SIGTERM)',
            143,
            'stopped by SIGTERM; run the same command',
        ),
        # A library that hangs when it is torn down, as some do without memory.
        (
            'libc = ctypes.CDLL(None); libc.__cxa_atexit(libc.pause, 0, 0); raise MemoryError',
            os.EX_TEMPFAIL,
            'Cannot allocate memory: free memory',
        ),
        ('os.abort()', -signal.SIGABRT, 'stopped by SIGABRT: mostly TensorFlow without memory'),
        (
            'os.mkdir("gone"); os.chdir("gone"); os.rmdir(os.getcwd()); os.path.abspath("x")',
            os.EX_TEMPFAIL,
            'the current directory is gone: bring it back, then run the same command',
        ),
    ],
)
def test_an_end_in_the_middle_is_one_line(tmp_path, body, code, said):
    script = f"""
import ctypes, os, signal, sys, time, types
sys.path.insert(0, {str(ROOT / 'bin')!r})
from flags import program
from dp_fedemb.runs import signals
sent = []
def once_more(seconds):
    # While a second signal is taken for the first, if that is for long enough.
    if seconds > 0.1 and not sent:
        sent.append(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(seconds)
def main(_):
    {body}
    signal.pause()
program.run(main)
"""
    command = [sys.executable, '-c', script]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300
    )
    lines = [line for line in done.stderr.splitlines() if line]
    assert done.returncode == code and len(lines) == 1, done
    assert lines[0].startswith(f'error: {said}')


@pytest.mark.parametrize(
    ('environment', 'code', 'output', 'said'),
    [
        ({'PYTHONOPTIMIZE': '2'}, 2, '', 'error: PYTHONOPTIMIZE=2, or python -OO, takes doc'),
        ({'PYTHONWARNINGS': 'error'}, 0, 'name', 'note: warnings are not errors here'),
        ({'PYTHONIOENCODING': 'ascii'}, 0, r'name \xdc', ''),
    ],
)
def test_an_odd_interpreter_is_one_line_or_does_not_matter(environment, code, output, said):
    script = f"""
import sys, warnings
sys.path.insert(0, {str(ROOT / 'bin')!r})
from flags import program
def main(_):
    warnings.warn('as TensorFlow does', DeprecationWarning)
    print('name \u00dc')
program.run(main)
"""
    command = [sys.executable, '-c', script]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == code and done.stdout.startswith(output), done
    lines = [line for line in done.stderr.splitlines() if 'Warning' not in line]
    assert len(lines) <= 1 and done.stderr.startswith(said), done


@pytest.mark.parametrize(
    ('error', 'code', 'said'),
    [
        (
            'KeyboardInterrupt()',
            -signal.SIGINT,
            'error: stopped by SIGINT; run the same command',
        ),
        ('MemoryError()', os.EX_TEMPFAIL, 'error: Cannot allocate memory: free memory'),
        ('RuntimeError("a bug")', 1, 'Traceback'),
    ],
)
def test_an_end_while_modules_are_loaded_is_one_line_where_it_is_no_bug(error, code, said):
    script = (
        f'import sys; sys.path.insert(0, {str(ROOT / "bin")!r}); import flags; raise {error}'
    )
    command = [sys.executable, '-c', script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code and done.stderr.startswith(said), done
    assert said == 'Traceback' or len(done.stderr.splitlines()) == 1

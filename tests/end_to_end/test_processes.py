"""bin/train.py leaves no worker behind, whichever way it ends."""

import os
import pathlib
import signal
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def command(tiny, cache_dir, tmp_path):
    """Trains in `tmp_path`/run for longer than any test waits."""
    return [
        sys.executable,
        ROOT / 'bin' / 'train.py',
        *tiny,
        '--rounds=100000',
        f'--cache_dir={cache_dir}',
        f'--output_dir={tmp_path / "run"}',
    ]


def test_it_ends_by_itself(process_checks, command):
    returned, text = process_checks.check_nothing_left([*command, '--rounds=1'])
    assert returned == 0 and 'outputs:' in text


@pytest.mark.parametrize(
    'ending, code', [('SIGINT to the group', 130), ('SIGTERM', 143), ('SIGKILL', -9)]
)
def test_it_is_stopped(process_checks, command, tmp_path, ending, code):
    with process_checks.running(command) as program:
        program.wait_for_worker()
        # After round 3, so that the checkpoint of round 2 is there.
        metrics = tmp_path / 'run' / 'metrics.csv'
        in_training = lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 4
        assert process_checks.wait_until(in_training)
        process_checks.ENDINGS[ending](program.process)
        text = program.output()
        assert process_checks.wait_until(lambda: not program.workers())
        assert program.process.returncode == code and 'Traceback' not in text
        # It names the signal only where nobody has waited for the program before.
        assert text.count('error: ') == 1 and 'to go on from the last checkpoint' in text
    checkpoints = (tmp_path / 'run' / 'checkpoints').glob('round_*.state')
    rounds = [int(path.stem.split('_')[1]) for path in checkpoints]
    assert max(rounds) >= 2
    assert (tmp_path / 'run' / 'saved_model' / 'saved_model.pb').exists()


def test_it_fails(process_checks, command, tmp_path):
    with process_checks.running(command) as program:
        program.wait_for_worker()
        metrics = tmp_path / 'run' / 'metrics.csv'
        assert process_checks.wait_until(metrics.exists)
        # What cannot be written any more ends the program in one line. It stands still
        # meanwhile, so that it does not write between the two.
        program.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, program.process.pid, os.WSTOPPED)
        metrics.unlink()
        metrics.mkdir()
        program.process.send_signal(signal.SIGCONT)
        text = program.output()
        assert process_checks.wait_until(lambda: not program.workers())
        assert program.process.returncode == 2 and 'Traceback' not in text
        last = text.splitlines()[-1]
        assert last.startswith(f'error: {metrics}: ') and 'a folder; restore the file' in last

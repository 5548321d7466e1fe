"""bin/train.py killed for real, and the same command again."""

import csv
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = 2**100 + 8
ROUNDS = 12


def rows(directory):
    with open(directory / 'metrics.csv') as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def command(tiny, cache_dir):
    """Function from a directory and an engine to a command line of twelve rounds."""

    def build(directory, engine):
        flags = [flag for flag in tiny if not flag.startswith('--rounds=')]
        return [
            sys.executable,
            str(ROOT / 'bin' / 'train.py'),
            *flags,
            f'--rounds={ROUNDS}',
            f'--seed={SEED}',
            f'--engine={engine}',
            f'--cache_dir={cache_dir}',
            f'--output_dir={directory}',
        ]

    return build


@pytest.fixture(scope='module')
def undisturbed(command, tmp_path_factory):
    directory = tmp_path_factory.mktemp('undisturbed') / 'run'
    subprocess.run(command(directory, 'in_process'), check=True, capture_output=True, cwd=ROOT)
    return directory


def killed_after(line, directory, rounds):
    """Kills a run when its metrics have that many rounds; returns how many there are.

    A run that was at its end before it could be killed, as the last rounds are quick and this
    process may be kept from looking, is none: another one takes its place.
    """
    metrics = directory / 'metrics.csv'
    for _ in range(10):
        process = subprocess.Popen(
            line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None:
            if metrics.exists() and metrics.read_text().count('\n') > rounds + 1:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = len(rows(directory)) - 1
        if done < ROUNDS:
            return done
        shutil.rmtree(directory)
    return ROUNDS


def finished(line):
    result = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-2000:]
    return result


def test_a_killed_run_ends_as_the_undisturbed_one(command, undisturbed, tmp_path):
    line = command(tmp_path / 'run', 'in_process')
    done = killed_after(line, tmp_path / 'run', 1)
    assert 1 <= done < ROUNDS
    finished(line)
    assert rows(tmp_path / 'run') == rows(undisturbed)
    variables = pathlib.Path('saved_model', 'variables', 'variables.data-00000-of-00001')
    for name in ('metrics.csv', 'privacy.json', 'config.json', variables):
        assert (tmp_path / 'run' / name).read_bytes() == (undisturbed / name).read_bytes(), name
    one, other = (
        json.loads((path / 'evaluation.json').read_text())
        for path in (tmp_path / 'run', undisturbed)
    )
    # A model that is saved again has another one; its weights are those above.
    for values in (one, other):
        assert values.pop('model_fingerprint')
    assert one == other


def test_a_run_goes_on_with_another_engine(command, undisturbed, tmp_path):
    done = killed_after(command(tmp_path / 'run', 'tff'), tmp_path / 'run', 1)
    assert 1 <= done < ROUNDS
    finished(command(tmp_path / 'run', 'in_process'))
    found = rows(tmp_path / 'run')
    assert [int(row['round']) for row in found] == list(range(ROUNDS + 1))
    statement = json.loads((tmp_path / 'run' / 'privacy.json').read_text())
    assert statement['rounds_completed'] == ROUNDS
    if not statement['repeated_releases']:
        # The sums came out the same, and so does everything else.
        assert found == rows(undisturbed)
    secrets = tmp_path / 'run' / 'checkpoints'
    assert oct(secrets.stat().st_mode)[-3:] == '700'
    assert all(oct(path.stat().st_mode)[-3:] == '600' for path in secrets.iterdir())
    assert os.listdir(tmp_path) == ['run']

"""From the start of bin/train.py to the end of round 1, over importing TFF alone."""

import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time

import measuring

IMPORT = [sys.executable, '-c', 'import tensorflow_federated']
TRAIN = [
    sys.executable,
    str(measuring.ROOT / 'bin' / 'train.py'),
    '--task=synthetic',
    '--task_option=num_users=200',
    '--task_option=test_identities=20',
    '--task_option=public_identities=0',
    '--rounds=1',
    '--virtual_clients_per_round=4',
    '--users_per_virtual_client=2',
    '--clip_norm=1',
    '--noise_multiplier=1',
]


def main():
    quick = measuring.quick()
    values, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as directory:
        for repetition in range(2 if quick else 6):
            start = time.perf_counter()
            subprocess.run(IMPORT, check=True, capture_output=True, env=_environment())
            imported = time.perf_counter() - start
            first_round = _to_first_round(directory, repetition)
            if repetition:  # The first one draws the data and fills the disk cache.
                theirs.append(imported)
                ours.append(first_round)
                values.append(first_round / imported)
    measuring.report(
        {
            'startup_s': {
                'value': statistics.median(values),
                'first_round_s': statistics.median(ours),
                'import_s': statistics.median(theirs),
            }
        }
    )


def _environment():
    return {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'}


def _to_first_round(directory, repetition):
    """Seconds until the row of round 1 is in metrics.csv."""
    run = os.path.join(directory, f'run{repetition}')
    start = time.perf_counter()
    process = subprocess.Popen(
        [*TRAIN, f'--output_dir={run}', f'--cache_dir={directory}/cache'],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(),
    )
    try:
        while not _has_first_round(os.path.join(run, 'metrics.csv')):
            if process.poll() not in (None, 0):
                raise RuntimeError(process.stderr.read().decode()[-1000:])
            time.sleep(0.01)
        return time.perf_counter() - start
    finally:
        process.kill()
        process.wait()


def _has_first_round(path):
    if not os.path.exists(path):
        return False
    with open(path) as file:
        return any(row['round'] == '1' for row in csv.DictReader(file))


if __name__ == '__main__':
    main()

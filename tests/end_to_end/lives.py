"""Kills whole lives of a run at random moments; a program, so that it can fork.

    lives.py DIRECTORY KILLS RANDOM_SEED ENGINE FLAG...

A life is bin/train.py with conversion and pretraining, bin/evaluate.py with a report,
bin/embed.py and bin/export.py. Each is a fork of this process, which has loaded TensorFlow
and never used it, so that starting again costs no import. At a random moment the driver,
its worker or both get SIGKILL, and the same command runs again, until so many kills have
been. Every life that comes to its end is compared with one that nobody disturbed. Prints a
JSON line for every kill, and one at the end.
"""

import json
import os
import pathlib
import random
import re
import runpy
import signal
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = 2**100 + 7
MARK = 'DP_FEDEMB_TEST_LIFE'
DEADLINE_S = 300
# Of a stage in one life; of others two.
MOST_KILLS = {'train': 8}
_HOLDS_TIMES = ('run/pretrained/metrics.csv',)


class Life:
    """The command lines of a life in a directory, and what they have written."""

    def __init__(self, directory, engine, flags):
        self.directory = directory
        directory.mkdir(parents=True)
        self.run = directory / 'run'
        cache = f'--cache_dir={directory / "cache"}'
        task = [flag for flag in flags if flag.startswith('--task')]
        self.stages = {
            'train': [
                *flags,
                f'--engine={engine}',
                f'--seed={SEED}',
                '--pretrained=public',
                '--pretrain_epochs=1',
                f'--output_dir={self.run}',
                cache,
            ],
            'evaluate': [
                f'--model={self.run}',
                '--plots',
                f'--output_dir={directory / "report"}',
                *task,
                cache,
            ],
            'embed': [
                f'--model={self.run}',
                f'--output={directory / "embeddings.npz"}',
                *task,
                cache,
            ],
            'export': [
                f'--model={self.run}',
                f'--evaluation={directory / "report"}',
                f'--output_dir={directory / "export"}',
                '--formats=saved_model,tflite,tflite_int8',
                *task,
                cache,
            ],
        }

    def contents(self):
        """What has to be the same in every life, by name."""
        found = {}
        for path in sorted(self.directory.rglob('*')):
            name = str(path.relative_to(self.directory))
            if not path.is_file() or name.endswith('.log'):
                continue
            content = path.read_bytes().replace(self.directory.name.encode(), b'LIFE')
            if path.suffix == '.npz':
                arrays = np.load(path)
                content = {key: arrays[key].tobytes() for key in arrays.files}
            elif path.name in ('evaluation.json', 'formats.json'):
                content = json.loads(content)
                content.pop('model_fingerprint', None)
                content.get('formats', {}).get('saved_model', {}).pop('bytes', None)
            elif path.name == 'model_card.md':
                content = re.sub(rb'Fingerprint `[0-9a-f]+`', b'', content)
            elif path.suffix in ('.pb', '.html', '.png') or name in _HOLDS_TIMES:
                # Of a model: it names functions in the order of their tracing.
                content = None
            elif name.startswith('run/checkpoints') or 'privacy_ledger' in name:
                # They note which engines there were, and what was about to be released.
                content = None
            found[name] = content
        return found


def start(name, arguments, log, before=lambda: None):
    """Runs a program of bin/ in a fork, after `before`; returns its process number."""
    pid = os.fork()
    # A group of its own, in both, so that it is one before anybody kills it.
    os.setpgid(pid, pid)
    if pid:
        return pid
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    script = ROOT / 'bin' / f'{name}.py'
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    os.environ[MARK] = str(os.getppid())
    before()
    runpy.run_path(str(script), run_name='__main__')
    sys.exit()


def workers():
    """Workers of drivers that this process has started, guards among them."""
    mark = f'{MARK}={os.getpid()}'.encode()
    found = []
    for folder in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            if mark in (folder / 'environ').read_bytes().split(b'\0'):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def ended(pid, until):
    """Returns the exit code, None if it still runs at a time."""
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(0.005)


def check_no_orphans():
    until = time.monotonic() + 60
    while workers():
        assert time.monotonic() < until, f'left behind: {workers()}'
        time.sleep(0.02)


def killed(pid, target):
    """Kills; returns what was killed."""
    if target != 'driver':
        of_driver = workers()
        for worker in of_driver:
            os.kill(worker, signal.SIGKILL)
        if target == 'worker' and of_driver:
            return 'worker'
    os.killpg(pid, signal.SIGKILL)
    return 'group' if target == 'group' else 'driver'


def whole(life, log):
    """Lives to the end; returns the seconds of each stage."""
    seconds = {}
    for name, arguments in life.stages.items():
        begin = time.monotonic()
        code = ended(start(name, arguments, log), begin + DEADLINE_S)
        assert code == 0, f'{name} ended with {code}: {log.read_text()[-2000:]}'
        seconds[name] = time.monotonic() - begin
    return seconds


def disturbed(life, log, seconds, chance, most):
    """Lives with kills; yields a record of each, and ends with the life, or after `most`."""
    count = 0
    for name, arguments in life.stages.items():
        # A stage that is slower than it was would else take all kills of a life.
        left = MOST_KILLS.get(name, 2)
        while True:
            kills = count < most and left > 0
            moment = chance.uniform(0, 1.5 * seconds[name]) if kills else DEADLINE_S
            begin = time.monotonic()
            pid = start(name, arguments, log)
            code = ended(pid, begin + moment)
            if code is None:
                assert kills, f'{name} does not end: {log.read_text()[-2000:]}'
                what = killed(pid, chance.choice(['driver', 'worker', 'group']))
                code = ended(pid, time.monotonic() + DEADLINE_S)
                assert code is not None, f'{name} goes on without its {what}'
                count, left = count + 1, left - 1
                yield {'stage': name, 'killed': what, 'after_s': round(moment, 2), 'code': code}
                check_no_orphans()
                if code != 0:
                    continue
            assert code == 0, f'{name} ended with {code}: {log.read_text()[-2000:]}'
            break


def check_same(found, expected, life, log):
    assert sorted(found.keys() ^ expected.keys()) == []
    different = [name for name in found if found[name] != expected[name]]
    assert not different, f'{life.directory}: {different} differ'
    assert 'Traceback' not in log.read_text(), log.read_text()[-4000:]


def main(directory, kills, random_seed, engine, *flags):
    chance = random.Random(int(random_seed))
    directory = pathlib.Path(directory)
    first = Life(directory / 'undisturbed', engine, flags)
    seconds = whole(first, directory / 'undisturbed.log')
    check_no_orphans()
    expected = first.contents()
    count = lives = 0
    while count < int(kills):
        life = Life(directory / f'life{lives}', engine, flags)
        log = directory / f'life{lives}.log'
        for record in disturbed(life, log, seconds, chance, int(kills) - count):
            count += 1
            print(json.dumps(record), flush=True)
        check_same(life.contents(), expected, life, log)
        lives += 1
    print(json.dumps({'kills': count, 'lives': lives, 'files': len(expected)}), flush=True)


if __name__ == '__main__':
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
    # Loaded, and never used here.
    import dp_fedemb.evaluation.collection
    import dp_fedemb.evaluation.report
    import dp_fedemb.export
    import dp_fedemb.pretraining.pretrain
    import dp_fedemb.runs.experiment  # noqa: F401

    main(*sys.argv[1:])

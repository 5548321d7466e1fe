"""Lets the host of real runs fail in their middle; a program, so that it can fork.

    real_faults.py DIRECTORY FAULTS FLAG...

A run is bin/train.py with its TensorFlow on a small disk of its own. When it has done some
rounds the host fails, for real: see `FAULTS`. The run has to end in one line that says what to
do, and the same command, on a host that is whole again, in the weights and rows of a run that
nothing disturbed. Prints a JSON line for every fault. The forks are as in lives.py.
"""

import contextlib
import importlib.util
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback

import lives

_SEEN = ('metrics.csv', 'privacy.json', 'evaluation.json', 'saved_model/variables')
_ROWS = 4
_DEADLINE_S = 1800
# The last rounds are quick, and this process may be kept from looking.
_TRIES = 10
_NO_DISK = 40
# The largest file that grows, the printed output, is smaller; states and models are larger.
_FILE_BYTES = 20_000
_UNKNOWN_USER = 54321
# What a process whose memory is denied to TensorFlow's C++ ends with.
_ABORTED = -signal.SIGABRT
# How long after the end of a process that a signal has ended its line may come.
_LINE_S = 10


def _host_faults():
    path = lives.ROOT / 'tests/runs/host_faults.py'
    spec = importlib.util.spec_from_file_location('host_faults', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


host_faults = _host_faults()


def on_disk(fault):
    @contextlib.contextmanager
    def strike(pid, disk):
        with fault(disk, disk / 'run'):
            yield

    return strike


@contextlib.contextmanager
def read_only_disk(pid, disk):
    # Not while a file is being written, which is most of the time.
    until = time.monotonic() + 60
    while True:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(host_faults.read_only_disk(disk, disk / 'run'))
            except subprocess.CalledProcessError:
                assert time.monotonic() < until, 'the disk is never at rest'
                continue
            yield
            return


def limit(kind, value):
    @contextlib.contextmanager
    def strike(pid, disk):
        resource.prlimit(pid, kind, (value, resource.prlimit(pid, kind)[1]))
        yield

    return strike


@contextlib.contextmanager
def no_memory(pid, disk):
    now = int(pathlib.Path(f'/proc/{pid}/statm').read_text().split()[0])
    size = now * os.sysconf('SC_PAGE_SIZE')
    with limit(resource.RLIMIT_AS, size)(pid, disk):
        yield


@contextlib.contextmanager
def lost_store(pid, disk):
    (disk / 'cache').rename(disk / 'elsewhere')
    yield
    if (disk / 'cache').exists():
        shutil.rmtree(disk / 'cache')
    (disk / 'elsewhere').rename(disk / 'cache')


@contextlib.contextmanager
def cut_store(pid, disk):
    files = sorted((disk / 'cache').rglob('examples.bin'))
    contents = [file.read_bytes() for file in files]
    for file in files:
        os.truncate(file, 1)
    yield
    for file, content in zip(files, contents):
        file.write_bytes(content)


# Name -> what is done to the host while a process runs, and the codes that it may end with.
FAULTS = {
    'full disk': (on_disk(host_faults.full_disk), (os.EX_TEMPFAIL,)),
    'read-only disk': (read_only_disk, (os.EX_TEMPFAIL,)),
    'vanished directory': (on_disk(host_faults.vanished_directory), (os.EX_TEMPFAIL,)),
    'small files': (limit(resource.RLIMIT_FSIZE, _FILE_BYTES), (os.EX_TEMPFAIL,)),
    'no file handles': (limit(resource.RLIMIT_NOFILE, 3), (os.EX_TEMPFAIL,)),
    'no memory': (no_memory, (0, os.EX_TEMPFAIL, _ABORTED)),
    # What is in memory already needs no file.
    'lost store': (lost_store, (0, os.EX_TEMPFAIL)),
    # It is mapped into memory, and there is no more of it: the system ends whoever reads on.
    'cut store': (cut_store, (os.EX_TEMPFAIL, 2, -signal.SIGBUS)),
}


def without_home():
    os.environ.pop('HOME', None)


def without_shared_memory():
    subprocess.run(['umount', '--lazy', '/dev/shm'], check=True)


def as_unknown_user():
    os.setgid(_UNKNOWN_USER)
    os.setuid(_UNKNOWN_USER)


# Name -> what is done in a process before it becomes a run, which it must not mind.
PLACES = {
    'without HOME': without_home,
    'without /dev/shm': without_shared_memory,
    'as an unknown user': as_unknown_user,
}


def contents(run):
    found = {}
    for name in _SEEN:
        path = run / name
        for file in [path] if path.is_file() else sorted(path.iterdir()):
            found[str(file.relative_to(run))] = file.read_bytes()
    # Of a graph, which names functions in the order of their tracing.
    evaluation = found['evaluation.json'] = json.loads(found['evaluation.json'])
    evaluation.pop('model_fingerprint', None)
    return found


def arguments(disk, flags):
    return [*flags, f'--output_dir={disk / "run"}', f'--cache_dir={disk / "cache"}']


def rows(run):
    with contextlib.suppress(OSError):
        return (run / 'metrics.csv').read_bytes().count(b'\n')
    return 0


def end_of(pid, log):
    code = lives.ended(pid, time.monotonic() + _DEADLINE_S)
    until = time.monotonic() + _LINE_S
    while (text := log.read_text()).count('error: ') == 0 and time.monotonic() < until:
        if code is None or code >= 0:
            break
        time.sleep(0.01)
    assert code is not None, f'does not end: {text[-2000:]}'
    assert 'Traceback' not in text, text[-4000:]
    return code, text.strip().splitlines()[-1] if text.strip() else ''


def hit(name, disk, flags, log):
    """Runs until the host fails; returns the code and the last line."""
    strike, _ = FAULTS[name]
    pid = lives.start('train', arguments(disk, flags), log)
    while rows(disk / 'run') < _ROWS:
        code = lives.ended(pid, 0)
        if code is not None:
            assert code == 0, log.read_text()[-4000:]
            return 0, ''
        time.sleep(0.002)
    with strike(pid, disk):
        return end_of(pid, log)


def struck(name, disk, flags, log):
    """As `hit`, and again where the run was at its end before the host had failed."""
    _, codes = FAULTS[name]
    for _ in range(_TRIES):
        shutil.copytree(disk.parent / 'cache', disk / 'cache')
        code, line = hit(name, disk, flags, log)
        if code or 0 in codes:
            break
        shutil.rmtree(disk / 'run')
        shutil.rmtree(disk / 'cache')
        log.unlink()
    assert code in codes, (code, line)
    if code:
        assert line.startswith('error: '), line
        assert log.read_text().count('error: ') == 1, log.read_text()
        # Where the checks at its start have refused what is there, it has not begun.
        assert code == 2 or 'same command' in line, line
    return code, line


def tried(name, directory, flags):
    """In a fork: a fault or a place, and the same command again; prints what was seen."""
    disk = directory / 'disk'
    if not host_faults.own_disk(disk, '64m'):
        return _NO_DISK
    disk.chmod(0o777)
    log = directory / f'{name.replace("/", "_")}.log'
    if name in PLACES:
        shutil.copytree(directory / 'cache', disk / 'cache')
        log.touch()
        log.chmod(0o666)
        for path in (disk / 'cache', *(disk / 'cache').rglob('*')):
            path.chmod(0o777 if path.is_dir() else 0o666)
        code, line = 0, ''
        before = PLACES[name]
    else:
        code, line = struck(name, disk, flags, log)
        before = lambda: None
    again = lives.start('train', arguments(disk, flags), log, before)
    assert end_of(again, log)[0] == 0, log.read_text()[-4000:]
    found, expected = contents(disk / 'run'), contents(directory / 'run')
    different = [each for each in expected if found.get(each) != expected[each]]
    if different or len(found) != len(expected):
        # The disk goes with this process.
        shutil.copytree(disk / 'run', directory / 'different')
        raise AssertionError(f'{name}: {different} differ: see {directory / "different"}')
    print(json.dumps({'fault': name, 'code': code, 'line': line}), flush=True)
    return 0


def cut_while_read(name, directory, flags):
    """In a fork: bin/evaluate.py, whose store is cut short while it embeds the images."""
    log = directory / 'evaluate.log'

    def start(report):
        words = [flag for flag in flags if flag.startswith('--task')]
        words += [f'--model={directory / "run"}', f'--cache_dir={directory / "cache"}']
        words += ['--metrics=verification', '--eval_batch_size=1']
        return lives.start('evaluate', [*words, f'--output_dir={directory / report}'], log)

    assert end_of(start('whole'), log)[0] == 0
    log.unlink()
    pid = start('report')
    while not log.exists() or 'embedding' not in log.read_text():
        assert lives.ended(pid, 0) is None, log.read_text()[-4000:]
        time.sleep(0.002)
    with cut_store(pid, directory):
        code, line = end_of(pid, log)
    assert code == -signal.SIGBUS and line.startswith('error: '), (code, line)
    assert log.read_text().count('error: ') == 1, log.read_text()
    assert end_of(start('report'), log)[0] == 0
    found, expected = (
        (directory / report / 'evaluation.json').read_bytes() for report in ('report', 'whole')
    )
    assert found == expected
    print(json.dumps({'fault': name, 'code': code, 'line': line}), flush=True)
    return 0


# Of a program that reads for longer than a round does.
READERS = {'store cut while it is read': cut_while_read}


def main(directory, names, *flags):
    directory = pathlib.Path(directory)
    (directory / 'disk').mkdir()
    log = directory / 'undisturbed.log'
    code, line = end_of(lives.start('train', arguments(directory, flags), log), log)
    assert code == 0, line
    for name in names.split(',') if names else [*FAULTS, *PLACES, *READERS]:
        pid = os.fork()
        if pid == 0:
            try:
                code = READERS.get(name, tried)(name, directory, flags)
            except SystemExit:
                # Of a run, which is a fork of this fork.
                raise
            except BaseException:
                traceback.print_exc()
                code = 1
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code:
            sys.exit(code)


if __name__ == '__main__':
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
    # Loaded, and never used here.
    import dp_fedemb.evaluation.report
    import dp_fedemb.runs.experiment  # noqa: F401

    main(*sys.argv[1:])

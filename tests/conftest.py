"""What tests of several packages share."""

import importlib.util
import os
import pathlib
import random
import signal
import sys
import threading
import traceback

import hypothesis
from hypothesis.internal.conjecture import providers
import pytest
import tqdm

from dp_fedemb import privacy
from dp_fedemb import randomness

# A shell starts background jobs with these ignored, which programs started by the tests
# would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# New secret seeds, of programs too that tests start, and hypothesis's examples follow from a
# test's name, so that a verdict on them is the same every day; a word gives others, to see how
# near tests are to their bounds.
_WORD = os.environ.get('DP_FEDEMB_TEST_SEED', '')
_seeds = random.Random(_WORD)
_system_seed = randomness.new_secret_seed
randomness.new_secret_seed = privacy.new_secret_seed = lambda: _seeds.getrandbits(128)
_PROGRAMS = str(pathlib.Path(__file__).parent / 'programs')
_path = os.environ.get('PYTHONPATH', '').split(os.pathsep)
# One of several processes of tests has it from the first.
os.environ['PYTHONPATH'] = os.pathsep.join(
    [_PROGRAMS, *(place for place in _path if place not in ('', _PROGRAMS))]
)
hypothesis.settings.register_profile(
    'dp_fedemb',
    deadline=None,
    database=None,
    derandomize=not _WORD,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
# It mixes constants of the project's loaded modules into examples, which are others by which
# tests share a process; no setting leaves them out.
assert callable(providers._get_local_constants)
_NO_CONSTANTS = providers.Constants()
providers._get_local_constants = lambda: _NO_CONSTANTS
hypothesis.settings.load_profile('dp_fedemb')


def _follow(name):
    _seeds.seed(f'{_WORD} {name}')
    os.environ['DP_FEDEMB_TEST'] = f'{_WORD} {name}'


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    _follow(item.nodeid)


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(fixturedef, request):
    # What tests share does not follow from the one that happens to ask for it first.
    if fixturedef.scope == 'function':
        yield
        return
    test, seeds = os.environ['DP_FEDEMB_TEST'], _seeds.getstate()
    _follow(f'{fixturedef.baseid} {fixturedef.argname} {getattr(request, "param", "")}')
    yield
    os.environ['DP_FEDEMB_TEST'] = test
    _seeds.setstate(seeds)


@pytest.fixture(scope='session', autouse=True)
def _root_of_tests(tmp_path_factory):
    # Below it, paths are the same in all runs; see tests/programs/sitecustomize.py.
    os.environ['DP_FEDEMB_TEST_ROOT'] = str(tmp_path_factory.getbasetemp())


@pytest.fixture(scope='session')
def system_seed():
    """The function that makes new secret seeds outside of tests."""
    return _system_seed


CLIP_NORM = 0.5
NOISE_MULTIPLIER = 1.5

# One of each mechanism; the trees restart in mid-power, and are completed, so that
# every branch runs within a few rounds.
MECHANISMS = {
    'none': privacy.NoPrivacy(),
    'clip_only': privacy.ClipOnly(CLIP_NORM),
    'gaussian': privacy.Gaussian(CLIP_NORM, NOISE_MULTIPLIER),
    'adaptive_gaussian': privacy.AdaptiveGaussian(
        CLIP_NORM, NOISE_MULTIPLIER, clipped_count_stddev=1.0
    ),
    'tree': privacy.Tree(CLIP_NORM, NOISE_MULTIPLIER, restart_rounds=3, tree_completion=True),
    'tree_adaptive': privacy.TreeAdaptive(
        CLIP_NORM, NOISE_MULTIPLIER, restart_rounds=3, clipped_count_stddev=1.0
    ),
    'banded': privacy.Banded(CLIP_NORM, NOISE_MULTIPLIER, strategy_momentum=0.9, bands=3),
    'bisr': privacy.Bisr(CLIP_NORM, NOISE_MULTIPLIER, strategy_momentum=0.9, draws=3),
    'blt': privacy.Blt(CLIP_NORM, NOISE_MULTIPLIER, strategy_momentum=0.9, buffers=2),
}


@pytest.fixture(scope='session')
def make_plan():
    """Function from a mechanism, or its name, and changes to a small plan."""

    def build(mechanism, **changes):
        mechanism = MECHANISMS.get(mechanism, mechanism)
        arguments = {
            'num_users': 1000,
            'virtual_clients_per_round': 8,
            'users_per_virtual_client': 2,
            'rounds': 16,
            'sampling': (
                privacy.Poisson() if mechanism.independent_rounds else privacy.MinSeparation()
            ),
        }
        return privacy.PrivacyPlan(mechanism=mechanism, **(arguments | changes))

    return build


@pytest.fixture(scope='session')
def tff_runtime():
    """One worker for all tests that execute TFF computations."""
    from dp_fedemb.engines import runtime

    with runtime.LocalRuntime() as local:
        yield local


@pytest.fixture(scope='session')
def official():
    """The module `tasks/official_files.py`: one maker of tiny official files per task."""
    return _module('tasks/official_files.py')


@pytest.fixture(scope='session')
def official_files(official, tmp_path_factory):
    """Function from a task's name to a directory with its tiny official files."""
    made = {}

    def make(task):
        if task not in made:
            made[task] = tmp_path_factory.mktemp(task)
            getattr(official, task)(made[task])
        return made[task]

    return make


@pytest.fixture(scope='session')
def process_checks():
    """The module `engines/process_checks.py`: programs that leave no worker behind."""
    return _module('engines/process_checks.py')


@pytest.fixture(scope='session')
def mutations():
    """The module `mutations.py`: damage to files, and what a reader may do about it."""
    return _module('mutations.py')


@pytest.fixture(scope='session')
def file_shim():
    """The module `file_shim.py`: a process that ends at a file operation of a number."""
    return _module('file_shim.py')


def _module(name):
    path = pathlib.Path(__file__).parent / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    # TFDS looks up the module of a builder.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _fork(work):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            # By default forks share one, which a process that is killed does not give back.
            tqdm.tqdm.set_lock(threading.RLock())
            code = work() or 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


@pytest.fixture(scope='session')
def fork():
    """Function that starts `work` in a fork and returns its process number.

    Its exit code is what `work` returns, 0 for None, and 1 where that raises.
    """
    return _fork


@pytest.fixture(scope='session')
def in_fork():
    """Function that runs `work` in a fork and returns its exit code; see `fork`."""
    return lambda work: os.waitstatus_to_exitcode(os.waitpid(_fork(work), 0)[1])


@pytest.fixture
def durable_renames(monkeypatch):
    """Function that runs `work` and returns how many renames there were.

    Raises AssertionError for one whose source was not flushed whole, or after which the
    directory was not flushed before the next.
    """

    def run(work):
        flushed, waiting, count = {}, [], [0]
        fsync, replace, rename = os.fsync, os.replace, os.rename

        def flush(descriptor):
            path = os.readlink(f'/proc/self/fd/{descriptor}')
            fsync(descriptor)
            status = os.stat(path)
            flushed[path] = (status.st_size, status.st_mtime_ns)
            if path in waiting:
                waiting.remove(path)

        def check(source):
            paths = [source]
            if os.path.isdir(source):
                paths += [os.path.join(f, n) for f, d, ns in os.walk(source) for n in (*d, *ns)]
            for path in map(str, paths):
                status = os.stat(path)
                assert flushed.get(path) == (status.st_size, status.st_mtime_ns), path

        def moved(call):
            def move(source, target):
                assert not waiting, f'{waiting} was not flushed'
                check(str(source))
                call(source, target)
                waiting.append(os.path.dirname(target))
                count[0] += 1

            return move

        with monkeypatch.context() as patched:
            patched.setattr(os, 'fsync', flush)
            patched.setattr(os, 'replace', moved(replace))
            patched.setattr(os, 'rename', moved(rename))
            work()
        assert not waiting, f'{waiting} was not flushed'
        return count[0]

    return run

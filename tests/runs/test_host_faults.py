"""A run whose host fails in its middle says so, and ends as if nothing had been."""

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import shutil
import subprocess

import pytest

from dp_fedemb import configured_directory
from dp_fedemb import privacy

SEED = 2**100 + 7
_NO_DISK = 40
# What touches the disk, and before which a fault may strike.
_CALLS = ('open', 'write', 'replace', 'rename', 'unlink', 'mkdir', 'chmod')


def _load(name):
    path = pathlib.Path(__file__).with_name(f'{name}.py')
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


host_faults = _load('host_faults')


@contextlib.contextmanager
def struck(root, strike=None, at=None):
    """Calls `strike` before the operation of a number below `root`; counts them."""
    saved = {name: getattr(os, name) for name in _CALLS}
    counter, strikes = [0], [] if strike is None else [strike]

    def wrap(name):
        def call(place, *arguments, **options):
            if isinstance(place, int) or str(place).startswith(str(root)):
                counter[0] += 1
                if strikes and counter[0] >= at:
                    fault = strikes.pop()
                    try:
                        fault()
                    except subprocess.CalledProcessError:
                        # No disk turns read-only while a file is being written.
                        strikes.append(fault)
            return saved[name](place, *arguments, **options)

        return call

    for name in _CALLS:
        setattr(os, name, wrap(name))
    try:
        yield counter
    finally:
        for name, call in saved.items():
            setattr(os, name, call)


@pytest.mark.parametrize('fault', host_faults.FAULTS, ids=lambda fault: fault.__name__)
def test_a_failing_host_loses_nothing(make_experiment, in_fork, tree, tmp_path, fault):
    plan = dataclasses.replace(make_experiment().plan, mechanism=privacy.ClipOnly(1.0))
    disk = tmp_path / 'disk'
    disk.mkdir()

    def work():
        if not host_faults.own_disk(disk):
            return _NO_DISK
        run = disk / 'run'
        with struck(run) as counter:
            make_experiment(plan=plan).run(run, SEED)
        undisturbed = tree(run)
        refused = 0
        # From where there is a directory to lose; 7 and the operations of a round share no
        # factor, so that all of them are met.
        for at in range(12, counter[0], 7):
            shutil.rmtree(run)
            with contextlib.ExitStack() as stack:
                try:
                    with struck(run, lambda: stack.enter_context(fault(disk, run)), at):
                        make_experiment(plan=plan).run(run, SEED)
                    # Nothing has gone on in another place.
                    assert fault is not host_faults.vanished_directory or not run.exists()
                except configured_directory.VanishedError:
                    assert fault is host_faults.vanished_directory
                    # Nor is there half of a run in the way of what is brought back.
                    assert not run.exists() or not any(run.iterdir())
                    refused += 1
                except OSError as error:
                    assert not isinstance(error, FileExistsError)
                    assert fault is not host_faults.vanished_directory and error.errno
                    refused += 1
                except ValueError as error:
                    assert 'cannot be written' in str(error) or 'restore' in str(error), error
                    refused += 1
            make_experiment(plan=plan).run(run, SEED)
            assert tree(run) == undisturbed, at
        assert refused > 5
        return 0

    code = in_fork(work)
    if code == _NO_DISK:
        pytest.skip('no namespaces of mounts here')
    assert code == 0

"""Tiny official files, made once for all tests of tasks."""

import importlib.util
import pathlib
import sys

import pytest

import tasks


@pytest.fixture(scope='session')
def official():
    """The module `official_files.py`: one maker of tiny official files per task."""
    path = pathlib.Path(__file__).with_name('official_files.py')
    spec = importlib.util.spec_from_file_location('official_files', path)
    module = importlib.util.module_from_spec(spec)
    # TFDS looks up the module of a builder.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def built(official, tmp_path_factory):
    """Function from a task's name to (task, its configuration); built once."""
    done = {}

    def build(name):
        if name not in done:
            data_dir = tmp_path_factory.mktemp(name)
            options = getattr(official, name)(data_dir)
            cache_dir = tmp_path_factory.mktemp(f'{name}_cache')
            config = tasks.TaskConfig(str(data_dir), str(cache_dir), options=options)
            done[name] = tasks.build_task(name, config), config
        return done[name]

    return build

"""Tiny official files, made once for all tests of tasks."""

import importlib.util
import pathlib
import sys

import pytest


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

"""Tiny official files, made once for all tests of tasks."""

import pytest

import tasks


@pytest.fixture(scope='session')
def built(official, tmp_path_factory):
    """Function from a task's name to (task, its configuration); built once."""
    done = {}

    def build(name):
        if name not in done:
            data_dir = tmp_path_factory.mktemp(name)
            options = getattr(official, name)(data_dir)
            cache_dir = tmp_path_factory.mktemp(f'{name}_cache')
            # The one task that reads no files refuses their directory.
            given = None if name == 'synthetic' else str(data_dir)
            config = tasks.TaskConfig(given, str(cache_dir), options=options)
            done[name] = tasks.build_task(name, config), config
        return done[name]

    return build

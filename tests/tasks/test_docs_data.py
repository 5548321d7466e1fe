"""The code in docs/data.md runs, and its table and counts are those of the tasks."""

import pathlib
import re

import numpy as np

from dp_fedemb import data
import tasks

TEXT = (pathlib.Path(__file__).parents[2] / 'docs' / 'data.md').read_text()
BLOCKS = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)


def test_task_by_function(built, tmp_path):
    _, config = built('tfds')
    code = {}
    exec(BLOCKS[0], code)
    task = code['build'](
        tasks.TaskConfig(
            config.data_dir,
            str(tmp_path),
            options={'image_size': '16', 'test_users': '0.4', 'identities': 'own'},
        )
    )
    assert task.name == 'studios' and task.train.num_users + task.test.num_users == 5
    assert set(task.train.user_names) | set(task.test.user_names) == {
        f'studio {number}' for number in range(5)
    }


def test_stores_by_hand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in BLOCKS[1:]:
        exec(block, {})
    task = tasks.build_task('stores', tasks.TaskConfig(data_dir='my_data'))
    assert task.train.num_users == 20 and task.test.num_identities == 60


def test_every_task_and_file_of_a_store_is_described(tmp_path):
    listed = re.findall(r'^\| `(\w+)` \|', TEXT, re.MULTILINE)
    assert set(tasks.TASKS) <= set(listed)
    with data.UserStoreWriter(tmp_path / 'store', (1, 1, 1)) as writer:
        writer.add_user(np.zeros((1, 1, 1, 1), np.uint8), ['a'], 'b', ['c'])
    for path in (tmp_path / 'store').iterdir():
        assert f'`{path.name}`' in TEXT


def test_backbones_of_the_table(built):
    for name, backbone in re.findall(r'^\| `(\w+)` \|.*\| (\w+) \|$', TEXT, re.MULTILINE):
        if name in tasks.TASKS:
            assert built(name)[0].default_backbone == backbone

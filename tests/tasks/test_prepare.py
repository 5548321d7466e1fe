"""`bin/prepare.py` converts, says what it found, and explains in one line what is wrong."""

import pathlib
import subprocess
import sys

PROGRAM = pathlib.Path(__file__).parents[2] / 'bin' / 'prepare.py'


def prepare(*flags):
    return subprocess.run(
        [sys.executable, PROGRAM, *flags], capture_output=True, text=True, timeout=300
    )


def test_it_converts_and_says_what_it_found(official, tmp_path):
    official.image_folder(tmp_path / 'photos')
    flags = [
        '--task=image_folder',
        f'--data_dir={tmp_path / "photos"}',
        f'--cache_dir={tmp_path / "cache"}',
        '--task_option=image_size=16',
        '--task_option=identities=own',
        '--task_option=test_users=0.3',
        '--max_examples_per_user=3',
    ]
    first = prepare(*flags)
    assert first.returncode == 0, first.stderr
    assert 'image_folder: a folder of pictures, user = first folder' in first.stdout
    assert 'found: 12 users' in first.stdout and 'held more than the limit' in first.stdout
    (folder,) = (tmp_path / 'cache' / 'image_folder').iterdir()
    assert str(folder / 'train') in first.stdout
    assert 'converting image_folder' in first.stderr
    again = prepare(*flags)
    assert again.stdout == first.stdout and 'converting' not in again.stderr


def test_wrong_input_is_one_line(tmp_path):
    for flags, words in [
        (['--task=emnist', f'--data_dir={tmp_path}'], 'emnist_all.sqlite.lzma: missing'),
        (['--task=face'], "task='face': expected one of digiface, emnist"),
        (['--task=lfw'], 'data_dir=None: task lfw needs lfw.tgz from http'),
    ]:
        result = prepare(*flags, f'--cache_dir={tmp_path / "cache"}')
        assert result.returncode == 2 and not result.stdout
        lines = [line for line in result.stderr.splitlines() if line.startswith('error: ')]
        assert len(lines) == 1 and words in lines[0]
    assert not (tmp_path / 'cache').exists()

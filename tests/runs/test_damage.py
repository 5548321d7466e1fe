"""Files of a run that are damaged or lost: mended, or named in one line with a way out."""

import os
import shutil

import pytest

from dp_fedemb.runs import directory as directory_lib

SEED = 2**100 + 7


def _another_digit(content):
    """The last digit changed, which stays a number of the same kind."""
    at = max(content.rfind(b'%d' % digit) for digit in range(10))
    return content[:at] + (b'1' if content[at : at + 1] != b'1' else b'2') + content[at + 1 :]


DAMAGES = {
    'cut': lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    'empty': lambda path: path.write_bytes(b''),
    'garbage': lambda path: path.write_bytes(b'\x00\xff' * 50),
    'another type': lambda path: path.write_bytes(b'[1, 2]'),
    'lost': lambda path: path.unlink(),
    'directory': lambda path: [path.unlink(), path.mkdir()],
    'pipe': lambda path: [path.unlink(), os.mkfifo(path)],
    'another digit': lambda path: path.write_bytes(_another_digit(path.read_bytes())),
}
# What is no file is refused wherever a file is read, or is to be.
NO_FILE = ('directory', 'pipe')
# What nothing else can tell again: its damage ends the run, and its loss does not go unseen.
REFUSED = {
    'config.json': tuple(DAMAGES),
    'metrics.csv': ('cut', 'empty', 'garbage', 'another type'),
    'evaluation.json': ('cut', 'empty', 'garbage', 'another type'),
    'privacy.json': ('cut', 'empty', 'garbage', 'another type'),
}


def tree(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


@pytest.fixture
def finished(make_experiment, tmp_path, monkeypatch):
    # Only a power cut needs it, and here it is most of the time.
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)
    make_experiment().run(tmp_path / 'finished', SEED)
    return tmp_path / 'finished'


def test_each_file_of_a_finished_run(make_experiment, finished, tmp_path):
    whole = tree(finished)
    mended = 0
    for name in whole:
        for damage, do in DAMAGES.items():
            path = tmp_path / 'damaged'
            shutil.copytree(finished, path)
            do(path / name)
            before = tree(path)
            try:
                make_experiment().run(path, SEED)
            except (ValueError, FileExistsError) as error:
                words = str(error)
                assert damage in (*REFUSED.get(name, ()), *NO_FILE), (name, damage, words)
                # The file or, where that is lost, the directory that it was in.
                assert str((path / name).parent) in words and '\n' not in words
                assert 'restore' in words or 'delete it' in words or 'choose' in words
                assert tree(path) == before or damage in NO_FILE, (name, damage)
            else:
                assert damage not in REFUSED.get(name, ()), (name, damage)
                found = tree(path)
                if name == 'metrics.csv' and damage == 'lost':
                    # Empty but for the last, which the checkpoint holds.
                    assert found[name].startswith(b'round,') and found[name].count(b'\n') == 5
                    found[name] = whole[name]
                    events = next(n for n in found if n.startswith('tensorboard'))
                    found[events] = whole[events]
                if not name.startswith('checkpoints'):
                    assert found == whole, (name, damage)
                mended += 1
            shutil.rmtree(path)
    assert mended > 10


@pytest.mark.parametrize('file', ['saved_model.pb', 'variables/data'])
def test_a_finished_run_without_its_model_is_not_finished(make_experiment, finished, file):
    experiment = make_experiment()
    directory = directory_lib.RunDirectory(finished)
    assert experiment.is_finished(directory)
    model = finished / 'saved_model' / file
    content = model.read_bytes()
    # One bit, which no reader of the file need notice.
    model.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert not experiment.is_finished(directory)
    before = tree(finished)
    experiment.run(directory, SEED)
    assert model.read_bytes() == content and experiment.is_finished(directory)
    changed = {n for n, b in tree(finished).items() if before.get(n) != b}
    assert changed <= {f'saved_model/{file}', 'checkpoints/published.json'}


def test_results_are_noted_as_they_were_written_last(make_experiment, finished):
    experiment, directory = make_experiment(), directory_lib.RunDirectory(finished)
    statement = finished / 'privacy.json'
    content = statement.read_bytes()
    statement.write_bytes(_another_digit(content))
    assert directory.changed_results() == ['privacy.json']
    assert not experiment.is_finished(directory)
    experiment.run(directory, SEED)
    assert statement.read_bytes() == content and experiment.is_finished(directory)
    # Of another machine, whose last digits differ.
    note = finished / 'checkpoints' / 'results.json'
    note.write_text(note.read_text().replace('evaluation.json": "', 'evaluation.json": "0'))
    assert not experiment.is_finished(directory)
    experiment.run(directory, SEED)
    assert experiment.is_finished(directory)
    # And of a run that was killed before the note, or from before there was one.
    note.unlink()
    assert experiment.is_finished(directory)
    experiment.run(directory, SEED)
    assert note.exists()

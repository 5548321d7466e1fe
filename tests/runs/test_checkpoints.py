"""Checkpoints, journal and rows: whole, checked, and appended."""

import csv
import errno
import os
import stat

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb.runs import checkpoints as checkpoints_lib
from dp_fedemb.runs import journal as journal_lib
from dp_fedemb.runs import releases as releases_lib

ARRAYS = (
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.array(7, np.int64),
    np.zeros((0, 4), np.float16),
)
KEY = b'k' * 32


@pytest.fixture
def saved(tmp_path):
    checkpoints = checkpoints_lib.Checkpoints(tmp_path / 'checkpoints')
    for done in range(4):
        checkpoints.save(done, [array + done for array in ARRAYS], {'seed': '12', 'n': done})
    return checkpoints


def paths(tmp_path):
    return sorted((tmp_path / 'checkpoints').iterdir())


def test_the_newest_comes_back_as_it_was(saved, tmp_path):
    found = saved.load()
    assert (found.round_num, found.record) == (3, {'seed': '12', 'n': 3})
    for array, original in zip(found.arrays, ARRAYS, strict=True):
        assert array.dtype == original.dtype and array.shape == original.shape
        np.testing.assert_array_equal(array, original + 3)
    assert saved.rounds() == [2, 3] and len(paths(tmp_path)) == 2


def test_secrets_are_their_owners(saved, tmp_path):
    assert stat.S_IMODE((tmp_path / 'checkpoints').stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths(tmp_path)} == {0o600}
    assert 'seed' not in repr(saved.load())


@pytest.mark.parametrize('damage', ['cut', 'empty', 'longer', *range(0, 300, 23)])
def test_a_damaged_newest_one_is_named_and_the_one_before_used(saved, tmp_path, caplog, damage):
    newest = paths(tmp_path)[-1]
    content = bytearray(newest.read_bytes())
    if damage == 'cut':
        content = content[:-5]
    elif damage == 'empty':
        content = b''
    elif damage == 'longer':
        content += b'x'
    else:
        content[damage % len(content)] ^= 1
    newest.write_bytes(content)
    assert saved.load().round_num == 2
    assert newest.name in caplog.text and 'damaged' in caplog.text
    # It is still there to be looked at.
    assert newest.exists()


@pytest.mark.parametrize('number', [errno.EMFILE, errno.EIO, errno.EACCES, errno.ENOENT])
def test_one_that_cannot_be_read_is_not_passed_over(saved, tmp_path, monkeypatch, number):
    newest = paths(tmp_path)[-1]
    read = os.open

    def failing(path, *arguments):
        if path == newest:
            raise OSError(number, os.strerror(number), str(path))
        return read(path, *arguments)

    monkeypatch.setattr(os, 'open', failing)
    with pytest.raises(OSError, match='newest checkpoint cannot be read') as error:
        saved.load()
    assert error.value.errno == number and error.value.filename == str(newest)
    monkeypatch.undo()
    assert saved.load().round_num == 3


@pytest.mark.parametrize('what', ['another round', 'pipe', 'directory'])
def test_what_stands_in_the_place_of_the_newest_one_is_not_it(saved, tmp_path, what, caplog):
    before, newest = paths(tmp_path)
    newest.unlink()
    if what == 'another round':
        newest.write_bytes(before.read_bytes())
    else:
        (os.mkfifo if what == 'pipe' else os.mkdir)(newest)
    assert saved.load().round_num == 2
    assert newest.name in caplog.text and newest.exists()


def test_nothing_whole_is_refused_in_one_line(saved, tmp_path):
    for path in paths(tmp_path):
        path.write_bytes(b'')
    with pytest.raises(ValueError, match='every checkpoint is damaged; restore one') as error:
        saved.load()
    assert '\n' not in str(error.value)


def test_those_of_the_first_version_are_refused_with_the_way_out(tmp_path):
    (tmp_path / 'round_10').mkdir()
    with pytest.raises(ValueError, match='checkpoints of version 0.1.0.*another output_dir'):
        checkpoints_lib.Checkpoints(tmp_path).load()


def test_a_sum_that_was_noised_before_has_its_attempt(tmp_path):
    path = tmp_path / 'sums.journal'
    journal = journal_lib.Journal(path, KEY)
    one, other = [np.array([1, 2])], [np.array([1, 3])]
    assert [journal.commit(0, one), journal.commit(0, one), journal.commit(1, one)] == [0, 0, 0]
    assert journal.repeats == 0 and journal.lines == 2
    again = journal_lib.Journal(path, KEY)
    assert again.commit(0, one) == 0 and again.repeats == 0
    assert again.attempt(0, other) == 1 and again.repeats == 0
    assert again.commit(0, other) == 1 and again.repeats == 1
    assert journal_lib.Journal(path, KEY).attempt(0, other) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_journal_tells_nothing_without_its_key(tmp_path):
    one = [np.array([1, 2])]
    for name, key in (('a', KEY), ('b', b'l' * 32)):
        journal_lib.Journal(tmp_path / name, key).commit(0, one)
    assert (tmp_path / 'a').read_text() != (tmp_path / 'b').read_text()


def test_a_torn_line_was_never_acted_on_and_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / 'sums.journal'
    journal = journal_lib.Journal(path, KEY)
    journal.commit(0, [np.array([1])])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    torn = journal_lib.Journal(path, KEY)
    assert torn.lines == 1 and path.read_bytes() == whole
    assert torn.commit(1, [np.array([1])]) == 0
    for damaged in (b'0 5 abc\n' + whole, b'\0' + whole, b'x' + whole[1:], b'\n' + whole):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match='line 1 is damaged'):
            journal_lib.Journal(path, KEY)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="is another run's.*restore the file"):
        journal_lib.Journal(path, b'l' * 32)
    path.write_bytes(whole.replace(b'0 0', b'\x000 0'))
    with pytest.raises(ValueError, match='line 2 is damaged'):
        journal_lib.Journal(path, KEY)
    # The name itself was torn.
    path.write_bytes(whole[:20])
    journal_lib.Journal(path, KEY).commit(0, [np.array([1])])
    assert path.read_bytes() == whole


ROWS = [{'round': 0, 'a': 0.1}, {'round': 1, 'a': 0.25, 'b': 2.0}, {'round': 2, 'a': 0.5}]


def released(tmp_path):
    return releases_lib.Releases(tmp_path / 'metrics.csv', tmp_path / 'tensorboard')


def events(tmp_path):
    (path,) = (tmp_path / 'tensorboard').iterdir()
    found = []
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            found.append((event.step, event.wall_time, value.tag, value.simple_value))
    return found


def test_rows_are_appended_and_tensorboard_has_them_without_times(tmp_path):
    releases = released(tmp_path)
    releases.restore(0, ROWS[:1])
    releases.append(ROWS[1:2])
    size = (tmp_path / 'metrics.csv').stat().st_size
    releases.append(ROWS[2:])
    with open(tmp_path / 'metrics.csv') as file:
        assert list(csv.DictReader(file)) == [
            {'round': '0', 'a': '0.1', 'b': ''},
            {'round': '1', 'a': '0.25', 'b': '2.0'},
            {'round': '2', 'a': '0.5', 'b': ''},
        ]
    assert (tmp_path / 'metrics.csv').stat().st_size == size + len('2,0.5,\n')
    assert [(step, time, tag) for step, time, tag, _ in events(tmp_path)] == [
        (0, 0.0, 'a'),
        (1, 1.0, 'a'),
        (1, 1.0, 'b'),
        (2, 2.0, 'a'),
    ]


@pytest.mark.parametrize('lost', [0, 1, 4])
def test_after_a_kill_each_row_is_there_once(tmp_path, lost):
    releases = released(tmp_path)
    releases.restore(0, ROWS[:1])
    releases.append(ROWS[1:])
    path = tmp_path / 'metrics.csv'
    before = path.read_bytes(), events(tmp_path)
    path.write_bytes(before[0][: len(before[0]) - lost])
    released(tmp_path).restore(2, ROWS[2:])
    assert (path.read_bytes(), events(tmp_path)) == before
    # Rows after the checkpoint are those of rounds that will be computed again.
    released(tmp_path).restore(1, ROWS[1:2])
    assert path.read_text().count('\n') == 3


def test_lost_or_damaged_rows_are_named(tmp_path):
    releases = released(tmp_path)
    releases.restore(0, ROWS[:1])
    releases.append(ROWS[1:])
    path = tmp_path / 'metrics.csv'
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(''.join([*lines[:2], *lines[3:]]))
    with pytest.raises(ValueError, match='lacks the row of round 1'):
        released(tmp_path).restore(2, ROWS[2:])
    path.write_text(''.join([*lines[:2], 'x,y\n', *lines[3:]]))
    with pytest.raises(ValueError, match='line 3 is damaged'):
        released(tmp_path).restore(2, ROWS[2:])

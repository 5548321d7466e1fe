"""Files and directories appear whole, keep their permissions, and survive other writers."""

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from dp_fedemb import drafts
from dp_fedemb import files
from dp_fedemb import pathnames

WRITER = """
import sys, time
from dp_fedemb import files
with files.appearing_directory(sys.argv[1]) as draft:
    (draft / 'half').write_text('half')
    print('writing', flush=True)
    time.sleep(60)
"""


def test_text_and_permissions(tmp_path):
    path = tmp_path / 'secret'
    files.write_text(path, 'old')
    files.write_text(path, 'neu\udcff', mode=0o600)
    assert path.read_bytes() == b'neu\xff'
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ['secret']


def test_secret_is_never_readable_by_others(tmp_path):
    with files.appearing_file(tmp_path / 'secret', mode=0o600) as draft:
        assert draft.stat().st_mode & 0o777 == 0o600


def test_error_leaves_what_was_there(tmp_path):
    files.write_text(tmp_path / 'a', 'kept')
    with pytest.raises(KeyError), files.appearing_file(tmp_path / 'a') as draft:
        draft.write_text('half')
        raise KeyError
    with pytest.raises(KeyError), files.appearing_directory(tmp_path / 'd') as draft:
        (draft / 'half').write_text('half')
        raise KeyError
    assert os.listdir(tmp_path) == ['a']
    assert (tmp_path / 'a').read_text() == 'kept'


@pytest.mark.parametrize('exchange', [True, False])
def test_directory_is_replaced(tmp_path, monkeypatch, exchange):
    if not exchange:

        class NoExchange:
            def renameat2(self, *_):
                return -1

        monkeypatch.setattr(files, '_LIBC', NoExchange())
    for content in ('1', '2'):
        with files.appearing_directory(tmp_path / 'd', replace=True) as draft:
            (draft / content).write_text(content)
    assert os.listdir(tmp_path) == ['d'] and os.listdir(tmp_path / 'd') == ['2']


def test_directory_that_exists_is_refused(tmp_path):
    (tmp_path / 'd').mkdir()
    with pytest.raises(FileExistsError, match='exists already'):
        with files.appearing_directory(tmp_path / 'd'):
            raise AssertionError('not reached')


def test_the_faster_of_two_writers_wins(tmp_path):
    with pytest.raises(FileExistsError, match='another process'):
        with files.appearing_directory(tmp_path / 'd') as draft:
            (draft / 'slow').touch()
            with files.appearing_directory(tmp_path / 'd') as other:
                (other / 'fast').touch()
    assert os.listdir(tmp_path / 'd') == ['fast']
    assert os.listdir(tmp_path) == ['d']


def test_drafts_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    path = tmp_path / 'd'
    writer = subprocess.Popen(
        [sys.executable, '-c', WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == 'writing\n'
    assert drafts.remove_abandoned(path) == []
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    # The lock goes with the process, perhaps a moment after it.
    deadline = time.monotonic() + 60
    while not (removed := drafts.remove_abandoned(path)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(removed) == 1 and os.listdir(tmp_path) == []


def test_files_appear_in_a_folder_beside_others(tmp_path):
    (tmp_path / 'd').mkdir()
    files.write_text(tmp_path / 'd' / 'kept', 'kept')
    files.write_text(tmp_path / 'd' / 'a', 'old')
    with pytest.raises(KeyError), files.appearing_files(tmp_path / 'd') as draft:
        (draft / 'a').write_text('half')
        raise KeyError
    assert (tmp_path / 'd' / 'a').read_text() == 'old'
    with files.appearing_files(tmp_path / 'd') as draft:
        (draft / 'a').write_text('new')
        (draft / 'b').write_text('b')
    found = {path.name: path.read_text() for path in (tmp_path / 'd').iterdir()}
    assert found == {'kept': 'kept', 'a': 'new', 'b': 'b'}
    assert os.listdir(tmp_path) == ['d']


def test_a_killed_writers_file_goes_with_the_next_write(tmp_path, in_fork):
    def write_half():
        with files.appearing_file(tmp_path / 'secret', 0o600) as draft:
            draft.write_text('seed')
            os._exit(7)

    assert in_fork(write_half) == 7
    (left,) = os.listdir(tmp_path)
    assert drafts.is_draft(left)
    # Of another name: nobody knows whether that one's writer will come back.
    files.write_text(tmp_path / 'other', 'other')
    assert left in os.listdir(tmp_path)
    with files.appearing_file(tmp_path / 'secret', 0o600) as draft:
        # That of the living stays.
        files.write_text(tmp_path / 'secret', 'from another writer')
        draft.write_text('new')
    assert sorted(os.listdir(tmp_path)) == ['other', 'secret']
    assert (tmp_path / 'secret').read_text() == 'new'


def test_a_lock_waits_and_leaves_nothing(tmp_path, fork):
    got, release = tmp_path / 'got', tmp_path / 'release'

    def hold():
        with files.lock(tmp_path / 'd'):
            got.touch()
            while not release.exists():
                time.sleep(0.01)

    pid = fork(hold)
    while not got.exists():
        time.sleep(0.01)
    waits = []
    with files.lock(tmp_path / 'd', lambda: waits.append(release.touch())):
        assert len(waits) == 1
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert sorted(os.listdir(tmp_path)) == ['got', 'release']


def writes(tmp_path):
    files.write_text(tmp_path / 'a', 'text')
    for _ in range(2):
        with files.appearing_directory(tmp_path / 'x' / 'd', replace=True) as draft:
            (draft / 'below').mkdir(exist_ok=True)
            (draft / 'below' / 'file').write_text('file')


def test_what_is_renamed_is_on_the_disk(durable_renames, tmp_path):
    assert durable_renames(lambda: writes(tmp_path)) >= 2


@pytest.mark.parametrize('fault', ['sync', 'sync_tree'])
def test_a_rename_before_its_time_is_noticed(durable_renames, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(files, fault, lambda path: None)
    with pytest.raises(AssertionError):
        durable_renames(lambda: writes(tmp_path))


@pytest.mark.parametrize('umask', [0o000, 0o022, 0o077])
def test_nothing_is_more_open_than_the_umask_and_nobody_else_writes(tmp_path, umask):
    before = os.umask(umask)
    try:
        files.write_text(tmp_path / 'file', 'x')
        files.write_text(tmp_path / 'secret', 'x', 0o600)
        (tmp_path / 'open').mkdir(0o777)
        files.make_private_directory(tmp_path / 'open')
        files.make_private_directory(tmp_path / 'new')
        with files.appearing_directory(tmp_path / 'folder') as draft:
            # As libraries write.
            (draft / 'inner').mkdir()
            (draft / 'inner' / 'file').write_text('x')
        with files.appearing_files(tmp_path / 'files') as draft:
            (draft / 'file').write_text('x')
    finally:
        os.umask(before)

    def mode(name):
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    for name in ('file', 'folder/inner/file', 'files/file'):
        assert mode(name) == 0o644 & ~umask, name
    assert mode('folder/inner') == 0o755 & ~umask
    assert mode('secret') == 0o600 and mode('open') == mode('new') == 0o700


def test_a_name_is_refused_at_once_where_its_drafts_would_be_too_long(tmp_path):
    longest = tmp_path / ('x' * 233)
    pathnames.check_place(output=longest)
    with files.appearing_directory(longest):
        pass
    with files.appearing_directory(longest, replace=True):
        pass
    longest = tmp_path / ('y' * 233)
    pathnames.check_file(longest)
    files.write_text(longest, 'all')
    for check in (pathnames.check_file, lambda path: pathnames.check_place(path=path)):
        with pytest.raises(ValueError, match='a name of 234 bytes; expected at most 233'):
            check(tmp_path / ('z' * 234))


def test_nothing_is_written_into_a_model(tmp_path):
    (tmp_path / 'run/saved_model').mkdir(parents=True)
    (tmp_path / 'run/saved_model/saved_model.pb').touch()
    (tmp_path / 'link').symlink_to('run/saved_model')
    pathnames.check_place(output_dir=tmp_path / 'run/report')
    for path in ('run/saved_model', 'run/saved_model/a/b', 'link/report'):
        with pytest.raises(ValueError, match="^output_dir='.*': lies in the model '.*model'"):
            pathnames.check_place(output_dir=tmp_path / path)
        assert not (tmp_path / 'run/saved_model/a').exists()


def test_pictures_are_not_written_among_those_that_are_read(tmp_path):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'link').symlink_to('photos')
    pathnames.check_apart(tmp_path / 'photos', output=tmp_path / 'photos_2')
    for path in ('photos', 'photos/a/report', 'link/report', 'photos_2/../photos/report'):
        with pytest.raises(ValueError, match=r"^output='.*': lies in '.*photos'"):
            pathnames.check_apart(tmp_path / 'photos', output=tmp_path / path)

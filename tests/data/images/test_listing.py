"""One list of a folder's pictures: what is on it, and what is counted beside it."""

import errno
import inspect
import os
import pathlib
import socket
import subprocess
import sys

import pytest

from dp_fedemb.data.images import formats
from dp_fedemb.data.images import listing


def fill(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'x')


def reasons(found):
    return {reason: set(names) for reason, names in found.left_out.items()}


def test_every_suffix_that_can_be_read(tmp_path):
    kinds = ['JPG', 'jpeg', 'png', 'pgm', 'PPM', 'pbm', 'tif', 'TIFF', 'bmp', 'WebP', 'gif']
    kinds += ['avif', 'jp2', 'tga']
    fill(tmp_path, *(f'ann/1.{kind}' for kind in kinds))
    fill(
        tmp_path, 'ann/1.txt', 'ann/2.mov', 'ann/3.eps', 'ann/noend', 'ann/4.heic', 'ann/5.dng'
    )
    found = listing.pictures(tmp_path)
    assert {name.rsplit('.')[-1] for name in found.names} - {'heic'} == set(kinds)
    left_out = reasons(found)
    assert {'ann/1.txt', 'ann/2.mov', 'ann/3.eps', 'ann/noend'} == left_out.pop(
        'not named as a picture'
    )
    if '.heic' not in formats.suffixes():
        assert left_out.pop(
            'pictures that cannot be read here, .heic: install pillow-heif'
        ) == {'ann/4.heic'}
    assert list(left_out.values()) == [{'ann/5.dng'}]
    notes = '\n'.join(found.notes)
    assert '4 left out: not named as a picture (ann/1.txt, ann/2.mov, ann/3.eps, ...)' in notes


def test_what_systems_and_photo_programs_leave(tmp_path):
    theirs = ['._1.jpg', '__MACOSX/1.jpg', '@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg', 'Thumbs.db']
    theirs += ['.thumbnails/1.jpg', '.picasaoriginals/1.jpg', '$RECYCLE.BIN/1.jpg', '1.jpg~']
    theirs += [
        '.DS_Store',
        'desktop.ini',
        'lost+found/1.jpg',
        'cat.lrdata/1.jpg',
        '#recycle/1.png',
    ]
    fill(tmp_path, 'ann/1.jpg', *(f'ann/{name}' for name in theirs), 'ann/.mine/1.jpg')
    found = listing.pictures(tmp_path)
    assert found.names == ('ann/1.jpg',)
    assert reasons(found) == {
        'left behind by a system or a photo program': {
            f'ann/{name.split("/")[0]}' for name in theirs
        },
        'hidden': {'ann/.mine'},
    }


def test_links_are_followed_and_bad_ones_counted(tmp_path):
    root, pool = tmp_path / 'root', tmp_path / 'pool'
    fill(pool, '1.jpg', '2.jpg', 'inner/3.jpg')
    fill(root, 'bo/1.jpg')
    (root / 'ann').symlink_to(pool)
    (root / 'bo' / '2.jpg').symlink_to(pool / '2.jpg')
    (root / 'bo' / 'nowhere.jpg').symlink_to(pool / '9.jpg')
    (root / 'bo' / 'self.jpg').symlink_to('self.jpg')
    (root / 'bo' / 'up').symlink_to(root)
    (pool / 'inner' / 'up').symlink_to(pool)
    found = listing.pictures(root)
    assert found.names == ('ann/1.jpg', 'ann/2.jpg', 'ann/inner/3.jpg', 'bo/1.jpg', 'bo/2.jpg')
    assert found.folders == ('ann', 'bo') and found.same_files in (
        ('bo/2.jpg',),
        ('ann/2.jpg',),
    )
    assert reasons(found) == {
        'links in a circle': {'ann/inner/up', 'bo/self.jpg', 'bo/up'},
        'links that lead nowhere': {'bo/nowhere.jpg'},
    }
    assert any('1 pictures are the same file as one in another' in note for note in found.notes)


def test_folders_of_links_that_double_come_to_an_end(tmp_path):
    for level in range(40):
        folder = tmp_path / f'level{level}'
        folder.mkdir()
        for name in ('a', 'b'):
            (folder / name).symlink_to(tmp_path / f'level{level + 1}')
    fill(tmp_path, 'level40/1.jpg')
    found = listing.pictures(tmp_path)
    # Of each level by itself, and by chains of up to three links.
    assert len(found.names) == 1 + 2 + 4 + 8
    assert 'links to folders behind 3 others' in found.left_out


def test_a_deep_folder(tmp_path):
    # Deeper than a program may recurse; pytest's own cleaning would fail on a deeper one.
    path = tmp_path.joinpath(*['d'] * 150)
    fill(path, '1.jpg')
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 60)
    try:
        assert len(listing.pictures(tmp_path).names) == 1
    finally:
        sys.setrecursionlimit(limit)


def test_pipes_sockets_and_devices_are_not_opened(tmp_path, monkeypatch):
    fill(tmp_path, 'ann/1.jpg')
    os.mkfifo(tmp_path / 'ann' / 'pipe.jpg')
    (tmp_path / 'ann' / 'null.jpg').symlink_to('/dev/zero')
    # A socket's path is short, and pytest's may be long.
    monkeypatch.chdir(tmp_path / 'ann')
    with socket.socket(socket.AF_UNIX) as server:
        server.bind('socket.jpg')
        found = listing.pictures(tmp_path)
    assert found.names == ('ann/1.jpg',)
    assert reasons(found) == {
        'pipes, sockets and devices': {'ann/pipe.jpg', 'ann/null.jpg', 'ann/socket.jpg'}
    }


def test_only_what_is_not_there_is_left_out(tmp_path, monkeypatch):
    fill(tmp_path, 'ann/1.jpg', 'bo/1.jpg')
    where = os.getcwd()
    os.chdir(tmp_path / 'ann')
    try:
        # More than a path of the system may have.
        for _ in range(20):
            os.mkdir(250 * 'd')
            os.chdir(250 * 'd')
        pathlib.Path('1.jpg').touch()
        found = listing.pictures(tmp_path)
    finally:
        os.chdir(where)
        subprocess.run(['rm', '-r', tmp_path / 'ann'], check=True)
    assert list(reasons(found)) == ['in more folders than the system can reach']

    class Lost:
        name, path = '1.jpg', 'bo/1.jpg'

        def stat(self):
            raise OSError(errno.EIO, 'Input/output error', self.path)

    monkeypatch.setattr(listing._Walk, '_entries', lambda *_: [Lost()])
    with pytest.raises(OSError, match='Input/output error'):
        listing.pictures(tmp_path)


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    fill(tmp_path, 'ann/1.jpg', 'bo/1.jpg')
    whole = os.scandir

    def scandir(path):
        if os.path.basename(path) == 'bo':
            raise PermissionError(13, 'Permission denied', str(path))
        return whole(path)

    monkeypatch.setattr(listing.os, 'scandir', scandir)
    with pytest.raises(PermissionError, match=r"input='.*': no permission to read 1 .*\(bo\)"):
        listing.pictures(tmp_path, 'input')


def test_no_picture_at_all_says_what_there_is(tmp_path):
    fill(tmp_path, 'ann/1.txt')
    with pytest.raises(FileNotFoundError) as error:
        listing.pictures(tmp_path)
    assert 'no picture in it' in str(error.value) and 'ann/1.txt' in str(error.value)
    assert '\n' not in str(error.value)
    with pytest.raises(FileNotFoundError, match='no such directory'):
        listing.pictures(tmp_path / 'nowhere')

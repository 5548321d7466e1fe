"""The index of a folder: what is embedded, what is kept, and what is refused."""

import errno
import io
import os
import tracemalloc
import zipfile

import numpy as np
from PIL import Image
import pytest

from dp_fedemb import evaluation
from dp_fedemb import gallery
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.gallery import index_file


@pytest.fixture
def indexed(model, folder, preprocessing, tmp_path):
    """Function that indexes the folder, with other arguments if given."""

    def run(**other):
        arguments = {
            'model': model,
            'folder': folder,
            'path': tmp_path / 'photos.index',
            'preprocessing': preprocessing,
            'batch_size': 7,
            **other,
        }
        return gallery.index(**arguments)

    return run


class Interrupted:
    """A model after whose first batches somebody presses Ctrl-C."""

    def __init__(self, model, batches):
        self._model, self._left = model, batches
        self.fingerprint = model.fingerprint
        self.example_spec = model.example_spec

    def __call__(self, examples):
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        return self._model(examples)


def expected_embedding(model, path):
    pixels = np.asarray(Image.open(path)).reshape(1, *model.example_spec.shape)
    return evaluation.embed(model, pixels)[0]


def test_every_picture_has_its_own_embedding(indexed, model, folder, tmp_path):
    done = indexed()
    index = gallery.read_index(tmp_path / 'photos.index')
    assert index.paths == [f'{i:02}/{n}.png' for i in range(12) for n in range(5)]
    assert (len(done.added), done.changed, done.removed, done.embedded) == (60, (), (), 60)
    for row in (0, 33, 59):
        expected = expected_embedding(model, folder / index.paths[row])
        np.testing.assert_allclose(index.embeddings[row], expected, atol=1e-5)
    np.testing.assert_array_equal(index.embeddings, done.index.embeddings)


def test_only_what_is_new_or_changed_is_embedded(indexed, model, folder, tmp_path):
    # Without compression, so that all pictures of one shape have one size.
    changed = folder / '00/1.bmp'
    Image.open(folder / '00/1.png').save(changed)
    before = indexed().index
    assert indexed().embedded == 0
    # Touched, not changed; changed under the same size and times; copied; renamed; gone.
    os.utime(folder / '00/0.png', (1, 1))
    status = os.stat(changed)
    Image.fromarray(255 - np.asarray(Image.open(changed))).save(changed)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert os.stat(changed).st_size == status.st_size
    (folder / 'copy.png').write_bytes((folder / '05/0.png').read_bytes())
    (folder / '06/0.png').rename(folder / '06/moved.png')
    (folder / '07/0.png').unlink()
    done = indexed()
    assert done.changed == ('00/1.bmp',)
    assert set(done.added) == {'copy.png', '06/moved.png'}
    assert set(done.removed) == {'06/0.png', '07/0.png'}
    assert done.embedded == 1
    rows = dict(zip(done.index.paths, done.index.embeddings))
    old = dict(zip(before.paths, before.embeddings))
    np.testing.assert_array_equal(rows['copy.png'], old['05/0.png'])
    np.testing.assert_array_equal(rows['06/moved.png'], old['06/0.png'])
    np.testing.assert_array_equal(rows['00/0.png'], old['00/0.png'])
    expected = expected_embedding(model, changed)
    np.testing.assert_allclose(rows['00/1.bmp'], expected, atol=1e-5)
    assert np.abs(expected - old['00/1.bmp']).max() > 1e-3


def test_an_interrupted_work_goes_on(indexed, model, tmp_path):
    whole = indexed(path=None).index
    with pytest.raises(KeyboardInterrupt):
        indexed(model=Interrupted(model, 3))
    assert len(gallery.read_index(tmp_path / 'photos.index').paths) == 21
    done = indexed()
    assert done.embedded == 39
    np.testing.assert_allclose(done.index.embeddings, whole.embeddings, atol=1e-6)


def test_what_is_done_is_saved_on_the_way(indexed, model, tmp_path, monkeypatch):
    """As after SIGKILL, when nothing runs at the end."""
    saved = []
    write = index_file.write
    monkeypatch.setattr(
        index_file,
        'write',
        lambda path, index: (saved.append(len(index.paths)), write(path, index)),
    )
    indexed(save_seconds=0)
    assert saved == [7, 14, 21, 28, 35, 42, 49, 56, 60]


def test_broken_pictures_are_counted_and_named(indexed, folder, tmp_path):
    (folder / '03/2.png').write_bytes((folder / '03/2.png').read_bytes()[:40])
    with pytest.raises(ValueError, match=r'1 broken image\(s\), at most 0 .*03/2.png'):
        indexed()
    # What came before is not lost.
    assert len(gallery.read_index(tmp_path / 'photos.index').paths) >= 7
    done = indexed(max_broken=1)
    assert list(done.index.broken) == ['03/2.png'] and len(done.index.paths) == 59
    assert dict(gallery.read_index(tmp_path / 'photos.index').broken) == done.index.broken


def test_a_folder_of_broken_pictures_leaves_no_index(model, preprocessing, tmp_path):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos/a.png').write_bytes(b'nothing')
    path = tmp_path / 'photos.index'
    with pytest.raises(ValueError, match='none of 1 pictures is readable'):
        gallery.index(model, tmp_path / 'photos', path, preprocessing, max_broken=5)
    assert not path.exists()


def test_empty_folder_and_no_folder(indexed, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='no picture in it or below'):
        indexed(folder=tmp_path / 'empty')
    with pytest.raises(FileNotFoundError, match='no such directory'):
        indexed(folder=tmp_path / 'nowhere')


def test_another_model_folder_or_preprocessing_is_refused(indexed, model, glyphs, tmp_path):
    path = tmp_path / 'photos.index'
    indexed()
    before = path.read_bytes()
    other = Interrupted(model, 0)
    other.fingerprint = '0' * 32
    with pytest.raises(ValueError, match='made with another model'):
        indexed(model=other)
    (tmp_path / 'others').mkdir()
    Image.fromarray(glyphs[0, 0]).save(tmp_path / 'others/a.png')
    with pytest.raises(ValueError, match=r'is of the folder .*photos.*, not of .*others'):
        indexed(folder=tmp_path / 'others')
    with pytest.raises(ValueError, match='made with invert=False, not True'):
        indexed(preprocessing=preprocessing_lib.Preprocessing(16, 1, invert=True))
    assert path.read_bytes() == before


def test_the_fingerprint_is_of_the_files(model, tmp_path):
    import shutil

    from dp_fedemb.models import saved_model

    copy = tmp_path / 'copy'
    shutil.copytree(model.path, copy)
    assert saved_model.fingerprint(copy) == model.fingerprint
    data = next((copy / 'variables').glob('*.data*'))
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)
    assert saved_model.fingerprint(copy) != model.fingerprint


@pytest.mark.parametrize(
    'damage',
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b'',
        lambda content: b'text',
        lambda content: content[:2000] + b'?' + content[2001:],
    ],
)
def test_a_damaged_index_is_refused(indexed, tmp_path, damage):
    path = tmp_path / 'photos.index'
    indexed()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match='no index, or a damaged one .* delete it'):
        indexed()


def test_another_npz_is_no_index(tmp_path):
    np.savez(tmp_path / 'other.npz', embeddings=np.zeros((2, 8)))
    with pytest.raises(ValueError, match='no index, or a damaged one'):
        gallery.read_index(tmp_path / 'other.npz')
    with pytest.raises(FileNotFoundError, match='no such file; make it with'):
        gallery.read_index(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match='is no file'):
        gallery.read_index(tmp_path)


def test_a_full_disk_leaves_the_index_as_it_was(indexed, folder, glyphs, tmp_path, monkeypatch):
    indexed()
    before = (tmp_path / 'photos.index').read_bytes()
    Image.fromarray(glyphs[0, 0] // 2).save(folder / 'new.png')

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        indexed()
    assert (tmp_path / 'photos.index').read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ['photos', 'photos.index']


def test_names_that_are_no_text(model, preprocessing, glyphs, tmp_path):
    photos = tmp_path / 'photos'
    photos.mkdir()
    name = os.fsdecode(b'caf\xe9.png')
    Image.fromarray(glyphs[0, 0]).save(photos / name)
    gallery.index(model, photos, tmp_path / 'i', preprocessing)
    assert gallery.read_index(tmp_path / 'i').paths == [name]
    assert gallery.index(model, photos, tmp_path / 'i', preprocessing).embedded == 0


def test_files_by_which_the_kernel_speaks_are_not_read(indexed, folder):
    # Reading some of them never ends, or is an error of the disk.
    files = {'log.png': '/proc/kmsg', 'memory.png': '/proc/self/mem'}
    # A container may have put something else in the place of the first, which is root's.
    files = {
        name: file
        for name, file in files.items()
        if os.path.isfile(file) and os.access(file, os.R_OK)
    }
    assert 'memory.png' in files
    for name, file in files.items():
        (folder / name).symlink_to(file)
    found = indexed(max_broken=2).index
    assert found.broken == dict.fromkeys(files, 'an empty file')
    assert len(found.paths) == 60


def test_an_index_that_would_fill_the_memory_is_damaged(indexed, tmp_path):
    path = tmp_path / 'photos.index'
    indexed()
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    header = io.BytesIO()
    shape = {'descr': '<f4', 'fortran_order': False, 'shape': (10**12, 8)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in (parts | {'embeddings.npy': header.getvalue()}).items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match='a damaged one .* choose another file'):
        indexed()


def test_a_picture_with_a_long_tail_is_not_read_into_memory(indexed, folder, tmp_path):
    path = folder / '00' / '0.png'
    os.truncate(path, 200 << 20)
    tracemalloc.start()
    indexed()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 << 20
    os.truncate(path, 201 << 20)
    done = indexed()
    # What follows its end is of the file's content, too.
    assert done.changed == ('00/0.png',) and done.embedded == 1

"""Damaged and hostile files of the tasks: no hang, no trace, nothing written outside."""

import contextlib
import gzip
import io
import os
import shutil
import sqlite3
import tarfile
import zipfile

import pytest

import tasks
from tasks.shared import base
from tasks.shared import tfds_archives

ERRORS = (ValueError, OSError)


NAMES = ['digiface', 'emnist', 'image_folder', 'inaturalist', 'landmarks', 'lfw', 'tfds']


@pytest.mark.parametrize(
    'name, each',
    [
        *((name, 1 if name in ('emnist', 'tfds') else 3) for name in NAMES),
        *(pytest.param(name, 150, marks=pytest.mark.soak) for name in NAMES),
    ],
)
def test_damaged_files(name, each, official, tmp_path, mutations):
    whole = tmp_path / 'whole'
    whole.mkdir()
    fewer = {'writers': 5} if name == 'emnist' else {}
    options = getattr(official, name)(whole, **fewer)
    names = sorted(
        os.path.join(directory, file)
        for directory, _, files in os.walk(whole)
        for file in files
    )
    random = mutations.generator(5, len(name), ord(name[0]))
    for number in range(each):
        data_dir, cache_dir = tmp_path / f'data{number}', tmp_path / f'cache{number}'
        shutil.copytree(whole, data_dir)
        path = data_dir / os.path.relpath(names[random.integers(len(names))], whole)
        path.write_bytes(mutations.mutated(path.read_bytes(), random))
        before = mutations.names_below(tmp_path)
        config = base.TaskConfig(str(data_dir), str(cache_dir), options=options)
        with mutations.one_line(*ERRORS):
            task = tasks.build_task(name, config)
            assert task.train.num_examples and task.test.num_examples
            assert task.summary()
        # Nothing but the cache, and in it no half store.
        new = mutations.names_below(tmp_path) - before
        assert all(path.split('/')[0] == cache_dir.name for path in new)
        assert not [path for path in new if '.partial-' in path]
        shutil.rmtree(cache_dir, ignore_errors=True)
        shutil.rmtree(data_dir)


def hostile_tar(path):
    """Members that would be written outside, and links and devices to write through."""
    with tarfile.open(path, 'w:gz') as archive:
        for name in ('../evil.jpg', '/tmp/evil-of-a-test.jpg', 'a/../../evil.jpg'):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b'evil'))
        for name, kind in (('link', tarfile.SYMTYPE), ('hard', tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, '../..'
            archive.addfile(member)
        member = tarfile.TarInfo('link/evil.jpg')
        member.size = 4
        archive.addfile(member, io.BytesIO(b'evil'))
        member = tarfile.TarInfo('pipe.jpg')
        member.type = tarfile.FIFOTYPE
        archive.addfile(member)


def hostile_zip(path):
    """The same for zip; a link is a file whose mode says so."""
    with zipfile.ZipFile(path, 'w') as archive:
        for name in ('../evil.png', '/evil.png', 'a/../../evil.png', 'C:\\evil.png'):
            archive.writestr(name, b'evil')
        link = zipfile.ZipInfo('link')
        link.external_attr = 0o120777 << 16
        archive.writestr(link, '../..')
        archive.writestr('link/evil.png', b'evil')


@pytest.mark.parametrize('make, name', [(hostile_tar, 'a.tgz'), (hostile_zip, 'a.zip')])
def test_unpacking_writes_nothing_outside(make, name, tmp_path, mutations):
    make(tmp_path / name)
    work = tmp_path / 'deep' / 'er' / 'work'
    work.mkdir(parents=True)
    before = mutations.names_below(tmp_path)
    unpacker = tfds_archives._Unpacker({'url': tmp_path / name}, work, 'there')
    with mutations.one_line(ValueError):
        unpacker.download_and_extract('url')
    new = mutations.names_below(tmp_path) - before
    assert all(path.startswith('deep/er/work/') for path in new)
    assert not os.path.exists('/tmp/evil-of-a-test.jpg') and not os.path.exists('/evil.png')


def test_hostile_members_are_no_pictures(official, tmp_path, mutations):
    lfw, digiface = tmp_path / 'lfw', tmp_path / 'digiface'
    lfw.mkdir()
    digiface.mkdir()
    lfw_options = official.lfw(lfw)
    hostile_tar(lfw / 'lfw.tgz')
    digiface_options = official.digiface(digiface)
    hostile_zip(next(digiface.iterdir()))
    before = mutations.names_below(tmp_path)
    for name, data_dir, options in [
        ('lfw', lfw, lfw_options),
        ('digiface', digiface, digiface_options),
    ]:
        config = base.TaskConfig(str(data_dir), str(tmp_path / 'cache'), options=options)
        with mutations.one_line(*ERRORS):
            tasks.build_task(name, config)
    new = mutations.names_below(tmp_path) - before
    assert all(path.split('/')[0] == 'cache' for path in new)


def test_bombs_are_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_archives, '_FREE_BYTES', 1000)
    monkeypatch.setattr(tfds_archives, '_MOST_RATIO', 2)
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('zeros.png', bytes(10**6))
    with tarfile.open(tmp_path / 'b.tgz', 'w:gz') as archive:
        member = tarfile.TarInfo('zeros.png')
        member.size = 10**6
        archive.addfile(member, io.BytesIO(bytes(10**6)))
    (tmp_path / 'work').mkdir()
    for name in ('a.zip', 'b.tgz'):
        unpacker = tfds_archives._Unpacker({'url': tmp_path / name}, tmp_path / 'work', 'there')
        with pytest.raises(ValueError, match=f'{name}: damaged .it unpacks to 1,000,000 bytes'):
            unpacker.download_and_extract('url')
    assert not list((tmp_path / 'work').iterdir())
    with pytest.raises(ValueError, match='a.zip: damaged .big.png: 999,999,999 bytes'):
        tfds_archives.member(tmp_path / 'a.zip', 'big.png', 999_999_999, 'there')


def test_what_is_there_twice_is_refused(official, tmp_path, mutations):
    """A second member of a name would count, and replace the first in silence."""
    for name, member in [('lfw', 'lfw/Bo/Bo_0001.jpg'), ('digiface', 'copy/0/1.png')]:
        data_dir = tmp_path / name
        data_dir.mkdir()
        options = getattr(official, name)(data_dir)
        if name == 'lfw':
            whole = tmp_path / 'whole.tar'
            whole.write_bytes(gzip.decompress((data_dir / 'lfw.tgz').read_bytes()))
            with tarfile.open(whole, 'a') as archive:
                entry = tarfile.TarInfo(member)
                entry.size = 4
                archive.addfile(entry, io.BytesIO(b'more'))
            whole.replace(data_dir / 'lfw.tgz')
        else:
            with zipfile.ZipFile(min(data_dir.iterdir()), 'a') as archive:
                archive.writestr(member, b'more')
        config = base.TaskConfig(str(data_dir), str(tmp_path / 'cache'), options=options)
        with pytest.raises(ValueError, match='damaged .*is there twice'):
            tasks.build_task(name, config)


def header(name, size, kind=b'0'):
    """A header by hand, which `tarfile` would not write so."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = (size % 256**12).to_bytes(12, 'big')
    block[124] |= 0x80
    block[156:157] = kind
    block[148:156] = b' ' * 8
    block[148:156] = b'%06o\0 ' % sum(block)
    return bytes(block)


def extended(kind=b'x', **values):
    content = b''
    for key, value in values.items():
        body = f' GNU.sparse.{key}={value}\n'.encode()
        content += b'%d' % (len(body) + 2) + body
    return header('x', len(content), kind) + content + bytes(-len(content) % 512)


_BO = 'lfw/Bo/Bo_0009.jpg'
_SPARSE = extended(major=1, minor=0, realsize=100)
ODD_MEMBERS = {
    # Each was read whole, at once, and in some every digit was begun with anew.
    'long': header('x', 1 << 20, b'x') + (1 << 20) * b'1' + header(_BO, 4) + bytes(512),
    'long name': header('x', 1 << 20, b'L') + bytes(1 << 20) + header(_BO, 4) + bytes(512),
    'of all': header('x', 1 << 20, b'g') + bytes(1 << 20) + header(_BO, 4) + bytes(512),
    'negative': header('x', -512, b'L') + header(_BO, 4) + bytes(512),
    'endless chain': 2000 * extended(name='a') + header(_BO, 4) + bytes(512),
    # These were errors without the archive's name.
    'sparse, cut': _SPARSE + header(_BO, 512) + b'9999\n1\n' + bytes(505),
    'sparse, words': _SPARSE + header(_BO, 512) + b'some\n1\n' + bytes(505),
    'sparse, odd': extended(map='0,4,abc,4', size=99) + header(_BO, 4) + bytes(512),
    'sparse, size': extended(map='0,4', size='x') + header(_BO, 4) + bytes(512),
}


@pytest.mark.parametrize('name', ODD_MEMBERS)
def test_odd_headers_of_members(name, official, tmp_path, mutations):
    lists = {'lfw': 'lfw.tgz', 'inaturalist': 'train_val_images.tar.gz'}
    for task, archive in lists.items():
        data_dir = tmp_path / task
        data_dir.mkdir()
        options = getattr(official, task)(data_dir)
        content = ODD_MEMBERS[name] + bytes(1024)
        (data_dir / archive).write_bytes(gzip.compress(content, 1))
        config = base.TaskConfig(str(data_dir), str(tmp_path / 'cache'), options=options)
        with pytest.raises(ValueError, match=f'{archive}: damaged ') as error:
            with mutations.no_hang(20):
                tasks.build_task(task, config)
        assert len(str(error.value).splitlines()) == 1


def test_members_that_number_nothing(official, tmp_path):
    """Python refuses to read numbers of so many digits, and names no file then."""
    options = official.digiface(tmp_path)
    with zipfile.ZipFile(min(tmp_path.iterdir()), 'a') as archive:
        archive.writestr(5000 * '9' + '/1.png', b'no picture')
        archive.writestr('\u0661/1.png', b'no picture')
    config = base.TaskConfig(str(tmp_path), str(tmp_path / 'cache'), options=options)
    assert tasks.build_task('digiface', config).train.num_examples


def test_encrypted_members_are_no_pictures(official, tmp_path):
    options = official.digiface(tmp_path)
    path = min(tmp_path.iterdir())
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = next(each for each in archive.infolist() if each.filename.endswith('.png'))
    # The flag that says so, in the list at the end and before the member.
    content[entry.header_offset + 6] |= 1
    content[content.index(entry.filename.encode(), entry.header_offset + 99) - 46 + 8] |= 1
    path.write_bytes(content)
    config = base.TaskConfig(str(tmp_path), str(tmp_path / 'cache'), options=options)
    with pytest.raises(ValueError, match=r'1 broken image.*encrypted') as error:
        tasks.build_task('digiface', config)
    assert '\n' not in str(error.value)


def test_what_a_database_lacks_is_not_left_beside_it(tmp_path):
    path = tmp_path / 'emnist_all.sqlite'
    copy = tmp_path / 'killed'
    copy.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute('PRAGMA journal_mode=WAL')
        database.execute('CREATE TABLE examples (client_id TEXT)')
        database.commit()
        # As whoever is killed leaves it.
        for name in os.listdir(tmp_path):
            if name.startswith(path.name):
                shutil.copy(tmp_path / name, copy)
    config = base.TaskConfig(str(copy), str(tmp_path / 'cache'))
    with pytest.raises(ValueError, match='-wal: has changes that emnist_all.sqlite lacks'):
        tasks.build_task('emnist', config)


ODD_SCHEMAS = {
    'endless view': (
        'ALTER TABLE examples RENAME TO old',
        'CREATE VIEW examples AS WITH RECURSIVE c(x) AS'
        ' (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT old.* FROM c, old',
    ),
    'endless metadata': (
        'ALTER TABLE client_metadata RENAME TO old',
        'CREATE VIEW client_metadata AS SELECT a.* FROM old a, old b, old c, old d, old e',
    ),
    'a trigger': ('CREATE TRIGGER examples_2 AFTER INSERT ON examples BEGIN SELECT 1; END',),
    'a module': (
        'ALTER TABLE examples RENAME TO old',
        'CREATE VIRTUAL TABLE examples USING fts5(split_name, client_id)',
    ),
    'a writer of a megabyte': (
        'UPDATE examples SET client_id = hex(zeroblob(500000)) WHERE rowid = 3',
    ),
    'a large example': (
        'UPDATE examples SET serialized_example_proto = zeroblob(9000000) WHERE rowid = 3',
    ),
    'no example': ("UPDATE examples SET serialized_example_proto = x'2AFFA7' WHERE rowid = 3",),
}


@pytest.mark.parametrize('name', ODD_SCHEMAS)
def test_databases_of_another_kind(name, official, tmp_path, mutations):
    """Whatever is in the place of a table is run by SQLite, some of it without end."""
    options = official.emnist(tmp_path, writers=3)
    (path,) = tmp_path.iterdir()
    with contextlib.closing(sqlite3.connect(path)) as database:
        for statement in ODD_SCHEMAS[name]:
            database.execute(statement)
        database.commit()
    config = base.TaskConfig(str(tmp_path), str(tmp_path / 'cache'), options=options)
    with pytest.raises(ValueError, match='emnist_all.sqlite: damaged') as error:
        with mutations.no_hang(20):
            tasks.build_task('emnist', config)
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.rglob('meta.json'))


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        (f'{200_000 * "a"},1,1,1', 'field larger than field limit'),
        (',,,', 'a row without all of'),
        ('x,1', 'a row without all of'),
        # Rows behind a quote were swallowed in silence.
        ('x,"1,1,1', 'unexpected end of data'),
        ('x,"1,1,1\ny,1,1,1\nz,1",1,1', 'a row without all of'),
    ],
)
def test_lists_with_odd_rows(line, said, official, tmp_path):
    options = official.inaturalist(tmp_path)
    path = tmp_path / 'iNaturalist_train.csv'
    whole = path.read_text()
    config = base.TaskConfig(str(tmp_path), str(tmp_path / 'cache'), options=options)
    path.write_text(f'{whole}{line}\n')
    with pytest.raises(ValueError, match=said) as error:
        tasks.build_task('inaturalist', config)
    assert len(str(error.value)) < 1000
    path.write_text(whole.replace('class,', 'class,class,', 1))
    with pytest.raises(ValueError, match='has two columns class'):
        tasks.build_task('inaturalist', config)

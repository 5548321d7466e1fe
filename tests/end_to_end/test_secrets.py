"""What programs write tells nothing of users, seed and places, or is for its owner alone."""

import fnmatch
import gzip
import io
import json
import os
import pathlib
import re
import socket
import stat
import subprocess
import sys
import zipfile
import zlib

import numpy as np
from PIL import Image
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = 271828182845904523536028747135266249775724709369995
USER, IDENTITY, PLACE = 'Quzzelbert', 'Xylandrine', 'hushvault'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Pictures of forty users with telling names, in a directory with a telling one."""
    path = tmp_path_factory.mktemp('data') / PLACE
    generator = np.random.default_rng(0)
    for user in range(40):
        for identity in range(2):
            place = path / f'{USER}{user}' / f'{IDENTITY}{user}x{identity}'
            place.mkdir(parents=True)
            for number in range(2):
                pixels = generator.integers(0, 256, (16, 16), np.uint8)
                Image.fromarray(pixels).save(place / f'{number}.png')
    return path


OPTIONS = ('image_size=16', 'channels=1', 'test_users=0.3', 'test_identities=0.3')
SIZE = ['--virtual_clients_per_round=2', '--users_per_virtual_client=2', '--clip_norm=1']
SIZE += ['--noise_multiplier=1', '--backbone=small_conv', '--embedding_dim=8', '--rounds=2']


def call(work, commands):
    """Runs programs; returns their exit codes and all that they printed."""
    driver = pathlib.Path(__file__).with_name('programs_in_forks.py')
    log = work.parent / 'log'
    log.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, driver, log],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=work,
        env={
            **os.environ,
            'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ['PYTHONPATH']]),
        },
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = log.read_text()
    return json.loads(done.stdout), said


def task_flags(folder, work, *options):
    task = ['--task=image_folder', f'--data_dir={folder}', f'--cache_dir={work}/cache']
    return task + [f'--task_option={option}' for option in (*OPTIONS, *options)]


@pytest.fixture(scope='module')
def made(folder, tmp_path_factory):
    """Directory with what programs wrote, and what they said meanwhile."""
    work = tmp_path_factory.mktemp('work') / PLACE
    work.mkdir()
    task = task_flags(folder, work)
    model = f'--model={work}/run'
    index = f'--index={work}/photos.index'
    seed = work.parent / 'seed.flags'
    seed.write_text(f'--seed={SEED}\n')
    train = [*task, *SIZE, '--engine=in_process', f'--output_dir={work}/run']
    named = ['--groups=parent', '--show_images', f'--output_dir={work}/named']
    commands = [
        ['train', [*train, f'--flagfile={seed}']],
        [
            'evaluate',
            [*task, model, '--plots', '--projector', f'--output_dir={work}/report'],
        ],
        ['evaluate', [*task, model, '--plots', *named]],
        ['export', [model, '--formats=saved_model', f'--output_dir={work}/export']],
        ['embed', ['index', str(folder), model, index]],
        [
            'embed',
            [
                'cluster',
                str(folder),
                model,
                index,
                '--threshold=0.9',
                f'--output={work}/groups.csv',
            ],
        ],
        ['embed', [*task, model, f'--output={work}/embeddings.npz']],
    ]
    codes, said = call(work, commands)
    assert codes == [0] * len(commands), said[-3000:]
    wrong = [
        [f'--seed={SEED}x'],
        ['--seed=', str(SEED)],
        [f'--seed={SEED + 1}'],
    ]
    codes, of_errors = call(work, [['train', [*train, *each, '--debug']] for each in wrong])
    assert all(codes), of_errors
    return work, said, of_errors


def secrets(folder):
    """Bytes to look for: texts as they are and in UTF-16, the seed in its forms too."""
    texts = [USER, IDENTITY, PLACE, str(SEED), f'{SEED:x}', f'.{socket.gethostname()}.']
    found = {text.encode(code) for text in texts for code in ('utf-8', 'utf-16-le')}
    size = (SEED.bit_length() + 7) // 8
    return found | {SEED.to_bytes(size, 'little'), SEED.to_bytes(size, 'big')}


def contents(content):
    """Yields bytes, and what is packed in them."""
    yield content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield from contents(archive.read(name))
    if content[:2] == b'\x1f\x8b':
        yield from contents(gzip.decompress(content))
    if content[:8] == b'\x89PNG\r\n\x1a\n':
        # Texts of pictures may be deflated.
        for part in content.split(b'zTXt')[1:]:
            text = part[part.index(b'\0') + 2 :]
            yield zlib.decompressobj().decompress(text)


def holds(path, words):
    packed = [str(path.name).encode(), *contents(path.read_bytes())]
    return sorted({str(word) for part in packed for word in words if word in part})


def documented():
    """Lines of the table in docs/reliability.md: (pattern, whether the file is for anybody)."""
    text = (ROOT / 'docs' / 'reliability.md').read_text()
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split('|')[1:-1]]
        if len(cells) == 4 and cells[2].startswith(('you', 'anybody')):
            patterns = re.findall(r'`([\w.*/-]+)`', cells[1])
            found += [(pattern, cells[2].startswith('anybody')) for pattern in patterns]
    return found


def is_for_anybody(name, table):
    for pattern, anybody in table:
        if fnmatch.fnmatch(name, pattern.replace('**', '*')):
            return anybody
    raise AssertionError(f'docs/reliability.md does not say whose {name} is')


def can_be_read_by_others(path, work):
    folders = [folder for folder in path.parents if folder.is_relative_to(work)]
    entered = all(folder.stat().st_mode & 0o011 for folder in folders if folder != work)
    return entered and bool(path.stat().st_mode & 0o044)


def check_files(work, words):
    """Holds each file against the table; returns those that are for their owner alone."""
    table, own = documented(), []
    for path in sorted(work.rglob('*')):
        if path.is_symlink() or not path.is_file():
            continue
        name = path.relative_to(work).as_posix()
        assert not path.stat().st_mode & 0o022 or not can_be_read_by_others(path, work), name
        if is_for_anybody(name, table):
            assert (name, holds(path, words)) == (name, [])
        elif not name.startswith('named/') or holds(path, words):
            assert not can_be_read_by_others(path, work), name
            own.append(name)
    return own


def test_files_tell_nothing_or_are_for_their_owner_alone(made, folder):
    work, *_ = made
    own = check_files(work, secrets(folder))
    # So that looking finds what is there.
    for name, words in (
        ('run/checkpoints/round_00000002.state', {str(SEED).encode()}),
        ('report/users.csv', {USER.encode()}),
        ('report/metadata.tsv', {USER.encode(), IDENTITY.encode()}),
        ('named/evaluation.json', {USER.encode()}),
        ('photos.index', {USER.encode()}),
    ):
        assert name in own and holds(work / name, words), name
    assert {'named/report.html', 'named/groups.csv'} <= set(own)
    # Letters in pixels, which nobody finds here.
    assert not can_be_read_by_others(work / 'named' / 'by_group.png', work)
    assert stat.S_IMODE((work / 'run' / 'checkpoints').stat().st_mode) == 0o700


def test_nothing_is_said_of_users_or_the_seed(made):
    _, said, of_errors = made
    # What was asked for with names: groups, pictures that are alike.
    before = said[: said.index('written to')]
    assert 'epsilon' in before and USER not in before and IDENTITY not in before
    assert str(SEED)[:-1] not in said + of_errors and 'error: ' in of_errors


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_audits_searches_and_tables_tell_nothing(folder, tmp_path):
    work = tmp_path / PLACE
    work.mkdir()
    task = task_flags(folder, work, 'validation_users=0.3')
    run = [*task, *SIZE]
    model = f'--model={work}/run'
    audit = f'--output_dir={work}/audit'
    picture = str(next(folder.rglob('*.png')))
    index = f'--index={work}/photos.index'
    commands = [
        [
            'train',
            [*run, '--engine=in_process', '--profile', f'--output_dir={work}/run'],
        ],
        [
            'train',
            [*run, f'--pretrained={work}/run', f'--output_dir={tmp_path}/next/{PLACE}/run'],
        ],
        ['embed', ['index', str(folder), model, index]],
        [
            'embed',
            ['search', picture, model, index, '--format=html', f'--output={work}/found.html'],
        ],
        [
            'embed',
            ['cluster', str(folder), model, index, '--threshold=0.9', f'--output={work}/links'],
        ],
        ['audit', ['noise', model, '--coordinates=256', '--audited_runs=2', audit]],
        ['audit', ['rounds', *run, '--watched_rounds=2', audit]],
        ['audit', ['canaries', *run, '--canaries=16', '--most_users=8', audit]],
        [
            'reproduce',
            [
                '--table=head_lr',
                '--task=synthetic',
                '--scale=smoke',
                f'--cache_dir={work}/cache',
                f'--output_dir={work}/tables',
                f'--publish={work}/published',
            ],
        ],
    ]
    modes = {'public': ['--users_are_public'], 'composed': [], 'selection': ['--mean_trials=2']}
    for mode, more in modes.items():
        output = f'--output_dir={tmp_path}/{mode}/{PLACE}/sweep'
        shared = [f'--mode={mode}', *more, '--vary=client_lr=0.1,0.2', output]
        commands.append(['sweep', [*shared, '--', *run]])
    codes, said = call(work, commands)
    assert codes == [0] * len(commands), said[-3000:]
    words = secrets(folder)
    names = ('run/profile', 'found.html', 'links', 'audit/audit.json', 'published')
    assert all((work / name).exists() for name in names)
    assert stat.S_IMODE((work / 'links').stat().st_mode) == 0o700
    assert check_files(work, words)
    assert all(check_files(tmp_path / mode / PLACE, words) for mode in (*modes, 'next'))
    # But by the search, and those whom the selection of canaries leaves out are not named.
    assert str(SEED) not in said


def test_looking_finds_what_is_packed(tmp_path):
    np.savez_compressed(tmp_path / 'a.npz', names=np.array([USER, 'b']))
    (tmp_path / 'b.gz').write_bytes(gzip.compress(f'in {PLACE} of'.encode()))
    words = {USER.encode('utf-32-le'), PLACE.encode()}
    assert all(holds(path, words) for path in tmp_path.iterdir())

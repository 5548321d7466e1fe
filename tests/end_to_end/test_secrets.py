"""Names of users, the seed and paths are in no file that is given away."""

import gzip
import io
import os
import pathlib
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


@pytest.fixture(scope='module')
def made(folder, tmp_path_factory):
    """Directory with a run, its report and its export, and what was said meanwhile."""
    work = tmp_path_factory.mktemp('work') / PLACE
    work.mkdir()
    task = [
        '--task=image_folder',
        f'--data_dir={folder}',
        f'--cache_dir={folder.parent / "cache"}',
        *(
            f'--task_option={option}'
            for option in (
                'image_size=16',
                'channels=1',
                'test_users=0.3',
                'test_identities=0.3',
            )
        ),
    ]
    run = ['--rounds=2', '--virtual_clients_per_round=2', '--users_per_virtual_client=2']
    run += ['--clip_norm=1', '--noise_multiplier=1', '--backbone=small_conv']
    run += ['--embedding_dim=8', '--engine=in_process', f'--seed={SEED}']
    said = ''
    for name, line in (
        ('train', [*task, *run, f'--output_dir={work}/run']),
        ('evaluate', [*task, f'--model={work}/run', '--plots', f'--output_dir={work}/report']),
        (
            'export',
            [f'--model={work}/run', '--formats=saved_model', f'--output_dir={work}/export'],
        ),
    ):
        done = subprocess.run(
            [sys.executable, ROOT / 'bin' / f'{name}.py', *line],
            capture_output=True,
            text=True,
            cwd=work,
            env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        said += done.stdout + done.stderr
    return work, said


def secrets(folder):
    """Bytes to look for: texts as they are and in UTF-16, the seed in its forms too."""
    texts = [USER, IDENTITY, PLACE, str(SEED), f'{SEED:x}']
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


# Figures person by person, for the owner of the collection.
NAMING = {'report/identities.csv', 'report/users.csv'}


def is_secret(path, work):
    place = path.relative_to(work)
    return place.parts[:2] == ('run', 'checkpoints') or place.as_posix() in NAMING


def test_what_is_given_away_holds_no_secret(made, folder):
    work, _ = made
    words = secrets(folder)
    files = [path for path in work.rglob('*') if path.is_file() and not is_secret(path, work)]
    assert {'metrics.csv', 'config.json', 'privacy.json', 'saved_model.pb'} <= {
        path.name for path in files
    }
    assert not {
        str(path.relative_to(work)): found for path in files if (found := holds(path, words))
    }


def test_the_secret_is_where_only_its_owner_reads(made, folder):
    work, _ = made
    secret = work / 'run' / 'checkpoints'
    assert stat.S_IMODE(secret.stat().st_mode) == 0o700
    files = list(secret.iterdir())
    assert files and {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    # So that looking finds what is there.
    assert any(holds(path, {str(SEED).encode()}) for path in files)
    for name in NAMING:
        assert stat.S_IMODE((work / name).stat().st_mode) == 0o600
        assert holds(work / name, {USER.encode(), IDENTITY.encode()})


def test_nothing_is_said_of_users_or_the_seed(made):
    _, said = made
    assert str(SEED) not in said and USER not in said and IDENTITY not in said


def test_looking_finds_what_is_packed(tmp_path):
    np.savez_compressed(tmp_path / 'a.npz', names=np.array([USER, 'b']))
    (tmp_path / 'b.gz').write_bytes(gzip.compress(f'in {PLACE} of'.encode()))
    words = {USER.encode('utf-32-le'), PLACE.encode()}
    assert all(holds(path, words) for path in tmp_path.iterdir())

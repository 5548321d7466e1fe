"""Damaged pictures, lists and stores: no hang, no trace, an error of one line."""

import io
import os
import shutil
import socket

import numpy as np
from PIL import Image
import pytest

from dp_fedemb import data
from dp_fedemb.data import lists
from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import decoding
from dp_fedemb.data.images import formats
from dp_fedemb.data.images import preprocessing

KINDS = ['AVIF', 'BMP', 'GIF', 'JPEG', 'JPEG2000', 'PCX', 'PNG', 'PPM', 'QOI', 'SGI', 'TGA']
KINDS += ['TIFF', 'WEBP']


def pictures():
    """Small pictures of every format and several modes, encoded."""
    small = np.random.default_rng(0).integers(0, 256, (6, 9, 4), np.uint8)
    for kind in KINDS:
        for mode in ('RGB', 'L', 'RGBA', 'P', '1', 'I;16', 'CMYK'):
            image = Image.fromarray(small).convert('RGB')
            image = Image.new('I;16', (9, 6), 999) if mode == 'I;16' else image.convert(mode)
            buffer = io.BytesIO()
            try:
                image.save(buffer, kind)
            except (OSError, KeyError, ValueError, SystemError):
                continue  # A mode that the format does not have.
            yield f'{kind} {mode}', buffer.getvalue()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, 'maker'
    buffer = io.BytesIO()
    Image.fromarray(small).convert('RGB').save(buffer, 'JPEG', exif=exif)
    yield 'JPEG EXIF', buffer.getvalue()


@pytest.mark.parametrize('each', [12, pytest.param(600, marks=pytest.mark.soak)])
def test_pictures(each, mutations):
    whole = dict(pictures())
    assert {name.split()[0] for name in whole} == set(KINDS) <= set(formats.readable())
    read = broken = 0
    for number, (name, content) in enumerate(whole.items()):
        decoding.decode(content)
        random = mutations.generator(1, number)
        for _ in range(each):
            damaged = mutations.mutated(content, random)
            try:
                with mutations.no_hang():
                    got = decoding.decode(damaged, least=20, max_pixels=10**6)
                assert got.mode in ('L', 'RGB') and min(got.size) > 0
                read += 1
            except decoding.BrokenPicture as error:
                assert str(error) and '\n' not in str(error), (name, error)
                broken += 1
    # Both happen, else nothing was tested.
    assert read > 50 and broken > 50


@pytest.mark.parametrize('each', [60, pytest.param(3_000, marks=pytest.mark.soak)])
def test_a_conversion_loses_nothing_in_silence(each, tmp_path, mutations):
    whole = list(dict(pictures()).values())
    random = mutations.generator(2)
    examples = [
        conversion.Example(
            'train',
            f'user{n % 7}',
            'same',
            mutations.mutated(whole[n % len(whole)], random),
            f'picture {n}',
        )
        for n in range(each)
    ]
    way = preprocessing.Preprocessing(8, max_pixels=10**6)
    conversion.convert(examples, tmp_path, way, each, max_broken=each)
    store = data.UserStore.open(tmp_path / 'train')
    broken = [line.split(':')[0] for line in conversion.broken_images(tmp_path)]
    assert broken and sorted([*store.example_names, *broken]) == sorted(
        example.name for example in examples
    )


@pytest.mark.parametrize('each', [80, pytest.param(20_000, marks=pytest.mark.soak)])
def test_lists(each, tmp_path, mutations):
    content = 'train ann\r\ntest Jos\u00e9\n# more\n'
    path = tmp_path / 'list.txt'
    random = mutations.generator(3)
    for number in range(each):
        encoding = ('utf-8', 'utf-16', 'cp1252', 'utf-32')[number % 4]
        path.write_bytes(mutations.mutated(content.encode(encoding), random))
        with mutations.one_line(ValueError):
            assert isinstance(lists.read_lines(path, {'ann', 'Jos\u00e9'}), list)


@pytest.mark.parametrize('each', [8, pytest.param(2_000, marks=pytest.mark.soak)])
def test_stores(each, tmp_path, mutations):
    whole = tmp_path / 'whole'
    with data.UserStoreWriter(whole, (4, 4, 1)) as writer:
        for user in range(5):
            images = np.full((3, 4, 4, 1), user, np.uint8)
            writer.add_user(images, ['a', 'b', 'c'], f'user {user}', ['x', 'y', 'z'])
    opened = 0
    for name in sorted(path.name for path in whole.iterdir()):
        random = mutations.generator(4, len(name))
        for _ in range(each):
            shutil.rmtree(tmp_path / 'copy', ignore_errors=True)
            shutil.copytree(whole, tmp_path / 'copy')
            path = tmp_path / 'copy' / name
            path.write_bytes(mutations.mutated(path.read_bytes(), random))
            with mutations.one_line(ValueError, FileNotFoundError):
                store = data.UserStore.open(tmp_path / 'copy')
                # What is opened can be used.
                assert len(store.user_names) == store.num_users == len(store.present)
                assert len(store.identity_names) > store.identities.max() >= 0
                assert store.examples[:].shape == (store.num_examples, 4, 4, 1)
                assert store.example_names is None or store.preprocessing is None
                opened += 1
        shutil.rmtree(tmp_path / 'copy')
        shutil.copytree(whole, tmp_path / 'copy')
        (tmp_path / 'copy' / name).unlink()
        with mutations.one_line(ValueError, FileNotFoundError):
            data.UserStore.open(tmp_path / 'copy')
    assert opened


@pytest.mark.parametrize('kind', ['pipe', 'device', 'directory', 'socket', 'link to itself'])
def test_what_is_no_file_in_a_store(kind, tmp_path, mutations, monkeypatch):
    whole = tmp_path / 'whole'
    with data.UserStoreWriter(whole, (4, 4, 1)) as writer:
        writer.add_user(np.zeros((2, 4, 4, 1), np.uint8), ['a', 'b'], 'ann', ['x', 'y'])
    for name in sorted(path.name for path in whole.iterdir()):
        shutil.rmtree(tmp_path / 'copy', ignore_errors=True)
        shutil.copytree(whole, tmp_path / 'copy')
        path = tmp_path / 'copy' / name
        path.unlink()
        if kind == 'pipe':
            os.mkfifo(path)
        elif kind == 'directory':
            path.mkdir()
        elif kind == 'socket':
            # A socket's path is short, and pytest's may be long.
            with monkeypatch.context() as patch, socket.socket(socket.AF_UNIX) as listener:
                patch.chdir(path.parent)
                listener.bind(name)
        else:
            path.symlink_to('/dev/zero' if kind == 'device' else path)
        opened = False
        with mutations.one_line(OSError, ValueError), mutations.no_hang():
            store = data.UserStore.open(tmp_path / 'copy')
            assert store.user_names and store.identity_names and store.example_names
            opened = True
        assert not opened, name

"""PNG and TIFF whose data end early are refused where Pillow leaves the rest black or grey."""

import hashlib
import io
import os
import struct
import zlib

import numpy as np
from PIL import Image
import pytest

from dp_fedemb.data.images import decoding
from dp_fedemb.data.images import whole

_Y, _X = np.mgrid[:45, :61]
PIXELS = np.stack([_X * 4, _Y * 5, (_X * _Y) % 256], -1).astype(np.uint8)
# Of interlaced ones: pixels across and down of each pass.
PASSES = [np.s_[0::8, 0::8], np.s_[0::8, 4::8], np.s_[4::8, 0::4], np.s_[0::4, 2::4]]
PASSES += [np.s_[2::4, 0::2], np.s_[0::2, 1::2], np.s_[1::2, 0::1]]
# Colour type, bits and samples of a pixel.
COLOURS = {'RGB': (2, 8), 'L': (0, 8), 'RGBA': (6, 8), '1': (0, 1), 'deep': (0, 16)}


def chunk(kind, content):
    crc = zlib.crc32(kind + content)
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', crc)


def png(pixels, colour='RGB', interlaced=False, lacking=0, height=None):
    """Written by hand; `lacking` bytes of the rows are missing, with all checksums right."""
    kind, bits = COLOURS[colour]
    rows = b''
    for part in PASSES if interlaced else [np.s_[:, :]]:
        for row in pixels[part]:
            rows += (
                b'\0' + (np.packbits(row) if bits == 1 else row).tobytes() if row.size else b''
            )
    size = pixels.shape[1], height or pixels.shape[0]
    head = struct.pack('>IIBBBBB', *size, bits, kind, 0, 0, interlaced)
    content = zlib.compress(rows[: len(rows) - lacking])
    parts = chunk(b'IHDR', head)
    parts += chunk(b'IDAT', content[:50]) + chunk(b'IDAT', content[50:])
    return b'\x89PNG\r\n\x1a\n' + parts + chunk(b'IEND', b'')


def pixels_of(colour):
    if colour == 'RGBA':
        return np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    plain = {'L': PIXELS[..., 0], '1': PIXELS[..., 0] // 128}
    plain['deep'] = PIXELS[..., 0].astype('>u2') * 257
    return plain.get(colour, PIXELS)


@pytest.mark.parametrize('interlaced', [False, True])
@pytest.mark.parametrize('colour', COLOURS)
def test_png_without_its_last_rows(colour, interlaced):
    pixels = pixels_of(colour)
    taken = np.asarray(decoding.decode(png(pixels, colour, interlaced)))
    expected = pixels * 255 if colour == '1' else pixels
    expected = PIXELS[..., 0] if colour == 'deep' else expected
    np.testing.assert_array_equal(taken, expected[..., :3] if colour == 'RGBA' else expected)
    for lacking in (1, 40):
        with pytest.raises(decoding.BrokenPicture, match='end early: .* of its rows'):
            decoding.decode(png(pixels, colour, interlaced, lacking))
    with pytest.raises(decoding.BrokenPicture, match='end early: .* of its rows'):
        decoding.decode(png(pixels, colour, interlaced, height=60))


def test_png_with_more_than_its_rows_is_taken():
    content = png(np.concatenate([PIXELS, PIXELS]), height=45)
    np.testing.assert_array_equal(np.asarray(decoding.decode(content)), PIXELS)


@pytest.mark.parametrize('options', [{}, {'strip_size': 2000}], ids=['one strip', 'several'])
def test_tiff_of_jpegs(options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, 'TIFF', compression='jpeg', **options)
    content = buffer.getvalue()
    tags = Image.open(buffer).tag_v2
    assert decoding.decode(content).size == (61, 45)
    for place, size in zip(tags[273], tags[279]):
        middle = place + size * 3 // 4
        spoiled = content[:middle] + b'\xff\xd9' + content[middle + 2 :]
        with pytest.raises(decoding.BrokenPicture, match='truncated|end early'):
            decoding.decode(spoiled)


def sparse(path, content, size):
    """A file with nothing behind its content, which takes no room."""
    path.write_bytes(content)
    os.truncate(path, size)
    return path


def test_files_that_seem_to_hold_more_than_pictures_do(tmp_path):
    content = io.BytesIO()
    Image.fromarray(PIXELS).save(content, 'PNG')
    path = sparse(tmp_path / 'large.png', content.getvalue(), 1 << 40)
    for reader in (decoding.decode, lambda path: decoding.opened(path).__enter__()):
        with pytest.raises(decoding.BrokenPicture, match='a file of 1,099,511,627,776 bytes'):
            reader(path)


def test_a_file_that_grows_as_fast_as_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / 'growing.png'
    path.write_bytes(bytes(99))

    class Growing(io.FileIO):
        def readinto(self, buffer):
            with open(path, 'ab') as more:
                more.write(bytes(99))
            if self.tell() > 10_000:
                raise AssertionError('without end')
            return super().readinto(buffer)

        def readall(self):
            return b''.join(iter(lambda: self.read(99), b''))

        def read(self, size=-1):
            buffer = bytearray(size)
            return bytes(buffer[: self.readinto(buffer)])

    opened = lambda path: io.BufferedReader(Growing(path))
    monkeypatch.setattr(decoding.files, 'open_file', opened)
    with decoding.opened(path) as (file, digest):
        assert digest == hashlib.blake2b(bytes(99), digest_size=16).hexdigest()
        assert file.tell() == 0


WORDS = {'PNG': '', 'JPEG': 'bytes before its data'}


@pytest.mark.parametrize('kind', ['GIF', 'JPEG', 'PPM', 'PNG'])
def test_what_decoders_look_for_without_end(kind, tmp_path, monkeypatch):
    """Byte by byte through the zeros, FFs or comment of half a file, for hours."""
    monkeypatch.setattr(decoding, '_MOST_STEPS', 10_000)
    begin = {'GIF': b'', 'JPEG': b'\xff\xd8' + b'\xff' * 100_000, 'PPM': b'P6\n# ', 'PNG': b''}
    content = io.BytesIO()
    Image.fromarray(PIXELS).save(content, kind)
    begin[kind] = begin[kind] or content.getvalue()[:40]
    path = sparse(tmp_path / 'half', begin[kind], 1 << 31)
    with pytest.raises(decoding.BrokenPicture, match=WORDS.get(kind, 'no end')):
        decoding.decode(path)
    # What is whole, and has nothing behind it but zeros, is taken.
    if kind == 'GIF':
        several = []
        path = sparse(tmp_path / 'whole', content.getvalue()[:-1], 1 << 31)
        decoding.decode(path, on_several=lambda: several.append(path))
        assert not several


@pytest.mark.parametrize('count, place, size', [(200_000, 0, 0), (200_000, 8, 900_000)])
def test_tiff_of_strips_without_number(count, place, size, monkeypatch):
    """Each of which would be read and decoded, although the picture has ten rows."""
    looked_at = []
    monkeypatch.setattr(whole.jpeg, 'check', looked_at.append)
    tags = {256: [10], 257: [10], 258: [8], 259: [7], 262: [1], 277: [1], 278: [1]}
    head = b'II*\0' + struct.pack('<IH', 8, len(tags) + 2)
    for number, (value,) in tags.items():
        head += struct.pack('<HHIHH', number, 3, 1, value, 0)
        if number == 262:
            head += struct.pack('<HHII', 273, 4, count, 1000)
    head += struct.pack('<HHII', 279, 4, count, 1000 + 4 * count) + bytes(4)
    lists = struct.pack(f'<{count}I', *[place] * count) + struct.pack(
        f'<{count}I', *[size] * count
    )
    with pytest.raises(decoding.BrokenPicture):
        decoding.decode(head.ljust(1000, b'\0') + lists)
    assert len(looked_at) < 50

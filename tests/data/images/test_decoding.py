"""Levels follow from format and depth; what cannot be told or decoded is refused."""

import io
import struct
import zlib

import numpy as np
from PIL import Image
import pytest

from dp_fedemb.data.images import decoding

RAMP = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
DARK = RAMP // 8


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def levels(image, **options):
    return np.asarray(decoding.decode(image, **options)).astype(int)


def tiff(pixels, tags, byte_order='<'):
    """An uncompressed TIFF of one strip; tags by number, each a list of shorts."""
    height, width = pixels.shape[:2]
    content = pixels.tobytes()
    tags = {256: [width], 257: [height], 259: [1], 273: [8], 277: [1], 278: [height]} | tags
    tags[279] = [len(content)]
    entries, extra = b'', b''
    start = 8 + len(content) + 2 + 12 * len(tags) + 4
    for number, values in sorted(tags.items()):
        packed = struct.pack(f'{byte_order}{len(values)}H', *values)
        if len(packed) > 4:
            packed, extra = struct.pack(f'{byte_order}I', start + len(extra)), extra + packed
        head = struct.pack(f'{byte_order}HHI', number, 3, len(values))
        entries += head + packed.ljust(4, b'\0')
    head = {'<': b'II*\0', '>': b'MM\0*'}[byte_order]
    head += struct.pack(f'{byte_order}I', 8 + len(content))
    count = struct.pack(f'{byte_order}H', len(tags))
    return head + content + count + entries + bytes(4) + extra


def grey_tiff(pixels, bits, photometric=1, samples=1, byte_order='<'):
    return tiff(pixels, {258: [bits], 262: [photometric], 339: [samples]}, byte_order)


@pytest.mark.parametrize('pixels', [RAMP, DARK], ids=['ramp', 'dark'])
@pytest.mark.parametrize('order', ['<', '>'])
def test_tiff_of_16_bits_and_floats(pixels, order):
    deep = pixels.astype(f'{order}u2') * 257
    assert np.array_equal(levels(grey_tiff(deep, 16, byte_order=order)), pixels)
    floats = (pixels / 255).astype(f'{order}f4')
    assert np.array_equal(levels(grey_tiff(floats, 32, samples=3, byte_order=order)), pixels)


def test_tiff_where_zero_is_white():
    deep = RAMP.astype('<u2') * 257
    assert np.array_equal(levels(grey_tiff(deep, 16, photometric=0)), 255 - RAMP)
    assert np.array_equal(levels(grey_tiff(RAMP, 8, photometric=0)), 255 - RAMP)


def test_tiff_of_12_bits():
    twelve = RAMP.astype(int) * 4095 // 255
    first, second = twelve[:, ::2], twelve[:, 1::2]
    packed = np.stack(
        [first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1
    ).astype(np.uint8)
    content = grey_tiff(packed.reshape(8, 12), 12)
    # The strip holds 8 pixels a row in 12 bytes.
    at = content.index(struct.pack('<HHIH', 256, 3, 1, 12))
    content = content[: at + 8] + struct.pack('<H', 8) + content[at + 10 :]
    assert np.abs(levels(content) - RAMP).max() <= 1


@pytest.mark.parametrize('depth', [1, 3, 15, 255, 1023, 4095, 65535])
@pytest.mark.parametrize('plain', [True, False])
def test_pgm_and_ppm_of_any_depth(depth, plain):
    values = RAMP.astype(int) * depth // 255
    expected = np.rint(values * (255 / depth))
    for magic, pixels, size in [('25', values, 8), ('36', np.repeat(values, 3, axis=1), 8)]:
        head = f'P{magic[0 if plain else 1]}\n{size} 8\n{depth}\n'.encode()
        raw = pixels.astype('>u2' if depth > 255 else 'u1').tobytes()
        body = ' '.join(map(str, pixels.ravel())).encode() + b'\n' if plain else raw
        got = levels(head + body)
        got = got if got.ndim == 2 else got[..., 0]
        assert np.abs(got - expected).max() <= 1


def png(width, height, bits, colour, rows, *chunks):
    def chunk(name, content):
        check = struct.pack('>I', zlib.crc32(name + content))
        return struct.pack('>I', len(content)) + name + content + check

    head = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0))
    body = chunk(b'IDAT', zlib.compress(b''.join(b'\0' + bytes(row) for row in rows)))
    more = b''.join(chunk(*content) for content in chunks)
    return b'\x89PNG\r\n\x1a\n' + head + more + body + chunk(b'IEND', b'')


def test_png_of_16_bits_in_every_colour_type():
    deep = DARK.astype('>u2') * 257
    assert np.array_equal(levels(png(8, 8, 16, 0, deep)), DARK)
    colour = png(8, 8, 16, 2, np.repeat(deep, 3, axis=1))
    assert np.array_equal(levels(colour)[..., 1], DARK)
    opaque = np.stack([deep, np.full_like(deep, 65535)], axis=-1).reshape(8, 16)
    assert np.array_equal(levels(png(8, 8, 16, 4, opaque))[..., 0], DARK)
    clear = png(8, 8, 16, 0, deep, (b'tRNS', struct.pack('>H', int(deep[3, 3]))))
    assert np.array_equal(levels(clear, background=99), np.where(deep == deep[3, 3], 99, DARK))


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_png_of_few_bits(bits):
    values = np.arange(8) % 2**bits
    row = np.packbits(
        (values[:, None] >> np.arange(bits)[::-1]).astype(np.uint8).reshape(-1) & 1
    )
    got = levels(png(8, 1, bits, 0, [row.tobytes()]))
    assert np.array_equal(got[0], np.rint(values * (255 / (2**bits - 1))))


def test_colour_spaces():
    red = Image.new('RGB', (4, 4), (200, 30, 30))
    for kind, options in [('JPEG', {'quality': 95}), ('TIFF', {})]:
        got = levels(encoded(red.convert('CMYK'), kind, **options))
        assert np.abs(got - [200, 30, 30]).max() <= 3
    lab = np.tile(np.array([0xFF, 0, 0], np.uint8), (4, 4, 1))
    white = tiff(lab, {258: [8] * 3, 262: [8], 277: [3]})
    assert np.abs(levels(white) - 255).max() <= 2


def test_transparency_shows_the_background():
    half = Image.new('LA', (4, 4), (200, 0))
    assert np.all(levels(encoded(half, 'PNG'), background=50) == 50)
    palette = Image.new('P', (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    clear = encoded(palette, 'PNG', transparency=bytes([255, 0]))
    assert np.all(levels(clear, background=7) == 7)
    assert np.all(levels(encoded(palette, 'GIF'))[0, 0] == [10, 20, 30])


@pytest.mark.parametrize('kind', ['GIF', 'PNG', 'WEBP', 'TIFF', 'AVIF'])
def test_the_first_frame_of_an_animation(kind):
    frames = [Image.new('RGB', (16, 16), (level,) * 3) for level in (200, 100, 0)]
    moving = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(levels(moving) - 200).max() <= 3


@pytest.mark.parametrize('orientation', range(1, 9))
def test_upright_by_exif(orientation):
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    # How a camera held that way stores what is upright.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    for kind in ('PNG', 'WEBP', 'TIFF'):
        options = {'lossless': True} if kind == 'WEBP' else {}
        got = levels(encoded(image, kind, exif=exif, **options))
        assert np.array_equal(got if got.ndim == 2 else got[..., 0], upright)


def test_arrays():
    for pixels in (RAMP, RAMP[..., None], RAMP.astype(np.uint16) * 257, RAMP / 255):
        assert np.array_equal(levels(pixels), RAMP)
    assert np.array_equal(levels(RAMP > 99), np.where(RAMP > 99, 255, 0))
    assert levels(np.zeros((3, 3, 4), np.uint8), background=9).tolist() == [[[9] * 3] * 3] * 3


@pytest.mark.parametrize(
    'image, words',
    [
        (grey_tiff(RAMP.astype('<i2'), 16, samples=2), 'signed levels'),
        (grey_tiff(RAMP, 8, samples=2), 'signed levels'),
        (grey_tiff(RAMP.astype('<i4'), 32, samples=2), 'signed levels'),
        (grey_tiff(RAMP.astype('<u4'), 32), '32-bit levels'),
        (grey_tiff(RAMP.astype('<f4'), 32, samples=3), 'a level of 255, expected 0 to 1'),
        (grey_tiff(RAMP.astype('<f4') * np.nan, 32, samples=3), 'a level of nan'),
        (RAMP.astype(np.int32), 'int32: expected uint8'),
        (RAMP.astype(np.float32), 'float32: expected uint8'),
        (np.zeros((3, 3, 5), np.uint8), r'\[3, 3, 5\]'),
        (np.zeros((0, 3), np.uint8), r'\[0, 3\]: expected at least one'),
        (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'no picture of a known format'),
        (b'', 'no picture of a known format'),
    ],
)
def test_what_cannot_be_told_is_refused(image, words):
    with pytest.raises(decoding.BrokenPicture, match=words):
        decoding.decode(image)


def test_the_limit_is_checked_before_decoding():
    telephone = png(16_320, 12_240, 1, 0, [bytes(2_040)] * 12_240)
    assert decoding.decode(telephone).size == (16_320, 12_240)
    bomb = png(60_000, 60_000, 8, 0, [])
    with pytest.raises(decoding.BrokenPicture, match='60000 x 60000 pixels|bomb'):
        decoding.decode(bomb)
    small = encoded(Image.new('L', (11, 10)), 'PNG')
    with pytest.raises(decoding.BrokenPicture, match='11 x 10 pixels, .* max_pixels=100'):
        decoding.decode(small, max_pixels=100)


def test_files(tmp_path):
    import os

    os.mkfifo(tmp_path / 'pipe.png')
    (tmp_path / 'empty.png').write_bytes(b'')
    (tmp_path / 'folder.png').mkdir()
    Image.fromarray(RAMP).save(tmp_path / 'good.png')
    for name, words in [
        ('pipe.png', 'not a file'),
        ('empty.png', 'an empty file'),
        ('folder.png', 'not a file'),
        ('none.png', 'No such file'),
    ]:
        with pytest.raises(decoding.BrokenPicture, match=words):
            decoding.decode(tmp_path / name)
    assert np.array_equal(levels(tmp_path / 'good.png'), RAMP)


@pytest.mark.parametrize(
    'error',
    [
        MemoryError(),
        OverflowError('too large'),
        struct.error('unpack'),
        SyntaxError('broken'),
        RecursionError(),
        TypeError('NoneType'),
        ZeroDivisionError(),
        AttributeError('no x'),
        AssertionError(),
        Image.DecompressionBombError('bomb'),
    ],
)
def test_whatever_a_decoder_raises_is_a_broken_picture(error, monkeypatch):
    def fails(*args, **kwargs):
        raise error

    monkeypatch.setattr(decoding.ImageOps, 'exif_transpose', fails)
    with pytest.raises(decoding.BrokenPicture) as raised:
        decoding.decode(encoded(Image.fromarray(RAMP), 'PNG'))
    assert str(raised.value)


def test_no_file_handles_is_no_fault_of_the_picture(monkeypatch, tmp_path):
    Image.fromarray(RAMP).save(tmp_path / 'good.png')

    def fails(*args):
        raise OSError(24, 'Too many open files')

    monkeypatch.setattr(decoding.os, 'open', fails)
    with pytest.raises(OSError, match='Too many open files') as raised:
        decoding.decode(tmp_path / 'good.png')
    assert not isinstance(raised.value, decoding.BrokenPicture)


@pytest.mark.parametrize('kind', ['GIF', 'WEBP', 'PNG', 'TIFF', 'AVIF', 'MPO'])
def test_further_frames_are_told(kind):
    frames = [Image.fromarray(RAMP // part).convert('RGB') for part in (1, 2, 3)]
    calls = []
    for more in ([], frames[1:]):
        content = encoded(frames[0], kind, save_all=True, append_images=more)
        decoding.decode(content, on_several=lambda: calls.append(kind))
    # What a telephone adds to a photograph is no page of it.
    assert calls == ([] if kind == 'MPO' else [kind])


def test_a_damaged_further_frame_costs_nothing():
    frames = [Image.fromarray(np.roll(RAMP, part)) for part in range(3)]
    content = encoded(frames[0], 'GIF', save_all=True, append_images=frames[1:])
    whole = levels(content)
    for end in range(len(encoded(frames[0], 'GIF')) + 20, len(content)):
        np.testing.assert_array_equal(levels(content[:end]), whole)


def deep_and_transparent():
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (37, 23, 4), np.uint8)
    image = Image.fromarray(pixels)
    found = {mode: encoded(image.convert(mode), 'PNG') for mode in ('RGBA', 'LA')}
    found['P'] = encoded(image.convert('RGB').convert('P'), 'PNG', transparency=7)
    found['grey'] = encoded(Image.fromarray(pixels[..., 0] * np.uint16(257)), 'PNG')
    found['float'] = encoded(Image.fromarray(np.float32(pixels[..., 0] / 255)), 'TIFF')
    exif = Image.Exif()
    exif[0x112] = 6
    found['turned'] = encoded(image, 'PNG', exif=exif)
    return found


@pytest.mark.parametrize('kind', deep_and_transparent())
def test_in_bands_as_at_once(kind, monkeypatch):
    content = deep_and_transparent()[kind]
    at_once = levels(content, background=99)
    for pixels in (1, 50, 23 * 37):
        monkeypatch.setattr(decoding, '_BAND_PIXELS', pixels)
        np.testing.assert_array_equal(levels(content, background=99), at_once)


def test_memory_of_a_large_transparent_picture(in_fork):
    """It was 23 bytes a pixel, 7 GB of the largest that is taken."""
    content = encoded(Image.new('RGBA', (4000, 4000), (9, 9, 9, 99)), 'PNG', compress_level=1)

    def in_memory(name):
        with open('/proc/self/status') as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name)) << 10

    def decode():
        with open('/proc/self/clear_refs', 'w') as file:
            # So that the highest begins anew.
            file.write('5')
        before = in_memory('VmRSS')
        decoding.decode(content)
        return in_memory('VmHWM') - before > 15 * 4000 * 4000

    assert in_fork(decode) == 0


def qoi(pixels):
    """A picture in which every pixel is a byte of its own, which Pillow reads by itself."""
    height, width = pixels
    head = b'qoif' + struct.pack('>IIBB', width, height, 3, 0)
    return head + bytes([0x6B, 0x69]) * (width * height // 2) + bytes(7) + b'\1'


def test_formats_that_are_read_pixel_by_pixel(monkeypatch):
    monkeypatch.setattr(decoding, '_MOST_STEPS', 500)
    odd = b'P6 64 64 254 ' + bytes(3 * 64 * 64)
    for content in (qoi((64, 64)), odd):
        assert levels(content).shape == (64, 64, 3)
    monkeypatch.setattr(decoding, '_MOST_PIXEL_STEPS', 500)
    for content in (qoi((64, 64)), odd):
        with pytest.raises(decoding.BrokenPicture, match='or are too many'):
            decoding.decode(content)

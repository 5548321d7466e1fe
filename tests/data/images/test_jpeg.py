"""A JPEG whose data end early is refused, however it goes on; odd whole ones are not."""

import io
import itertools

import numpy as np
from PIL import Image
from PIL import ImageOps
import pytest

from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import decoding
from dp_fedemb.data.images import preprocessing

# Sides that no block fits: the last ones of a row and column are halves.
_Y, _X = np.mgrid[:150, :203]
PIXELS = np.stack(
    [(np.sin(_X / 9) + 1) * 127, (np.cos(_Y / 13) + 1) * 127, (_X * _Y) % 256], -1
).astype(np.uint8)
TURNED = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'
TURNED_SEGMENT = b'\xff\xe1' + (len(TURNED) + 2).to_bytes(2, 'big') + TURNED
END = b'\xff\xd9'


def encoded(mode='RGB', kind='JPEG', **options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(buffer, kind, quality=85, **options)
    return buffer.getvalue()


KINDS = {
    'plain': encoded(),
    'grey': encoded('L'),
    'full colour': encoded(subsampling=0),
    'CMYK': encoded('CMYK'),
    'progressive': encoded(progressive=True),
    'grey progressive': encoded('L', progressive=True),
    'restarts': encoded(restart_marker_blocks=3),
    'progressive restarts': encoded(progressive=True, restart_marker_rows=1),
    'turned': encoded(exif=TURNED),
}
SCALES = (0, 40)


def by_pillow(content, least=0):
    """Without a look at whether it is whole."""
    picture = Image.open(io.BytesIO(content))
    if least:
        picture.draft(None, (least, least))
    return np.asarray(ImageOps.exif_transpose(picture).convert('RGB'))


def is_taken(content, least=0):
    try:
        return np.asarray(decoding.decode(content, least=least).convert('RGB'))
    except decoding.BrokenPicture:
        return None


def frame_of(content):
    """Where the frame header begins."""
    return max(content.find(b'\xff\xc0'), content.find(b'\xff\xc2'))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('least', SCALES)
def test_whole_ones_are_as_pillow_has_them(kind, least):
    content = KINDS[kind]
    expected = by_pillow(content, least)
    several = io.BytesIO()
    Image.open(io.BytesIO(content)).save(
        several, 'MPO', save_all=True, append_images=[Image.new('RGB', (9, 9))]
    )
    fillers = content[:-2] + b'\xff\xff' + END
    for odd in (content, content + 5000 * b'junk', content + content, fillers):
        np.testing.assert_array_equal(is_taken(odd, least), expected)
    assert is_taken(several.getvalue(), least) is not None


def test_any_whole_one_is_as_pillow_has_it():
    """simplejpeg decodes it; stores made with Pillow alone stay as they were."""
    generator = np.random.default_rng(0)
    for index in range(200):
        mode, least = ('RGB', 'L', 'CMYK')[index % 3], (0, 1, 8, 20, 64, 112, 250)[index % 7]
        width, height = generator.integers(1, 300, 2)
        small = generator.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
        options = {'quality': int(generator.integers(1, 100)), 'progressive': index % 2 == 0}
        if mode == 'RGB':
            kept = {'keep_rgb': True} if index % 5 == 0 else {'subsampling': index // 3 % 3}
            options |= kept
        buffer = io.BytesIO()
        picture = Image.fromarray(small).resize((width, height)).convert(mode)
        picture.save(buffer, 'JPEG', **options)
        expected = by_pillow(buffer.getvalue(), least)
        np.testing.assert_array_equal(is_taken(buffer.getvalue(), least), expected)


@pytest.mark.parametrize('kind', KINDS)
def test_truncated_at_every_twentieth(kind):
    content = KINDS[kind]
    begin = frame_of(content)
    for twentieth, tail in itertools.product(range(20), (b'', END, bytes(9000), END + END)):
        cut = begin + 20 + (len(content) - begin - 40) * twentieth // 20
        for least in SCALES:
            assert is_taken(content[:cut] + tail, least) is None, (twentieth, tail[:2])


@pytest.mark.parametrize('kind', KINDS)
def test_larger_than_the_data(kind):
    at = frame_of(KINDS[kind]) + 5
    for height, width in ((176, 203), (150, 256), (300, 203), (3000, 2030)):
        content = bytearray(KINDS[kind])
        content[at : at + 4] = height.to_bytes(2, 'big') + width.to_bytes(2, 'big')
        for least in SCALES:
            assert is_taken(bytes(content), least) is None, (height, width)


@pytest.mark.parametrize('kind', KINDS)
def test_markers_within_the_data(kind):
    """As flipped bits make them: what follows is skipped, and was filled with grey."""
    content = KINDS[kind]
    begin = content.index(b'\xff\xda') + 20
    for place in range(begin, len(content) - 60, len(content) // 25):
        for marker in (b'\xff\x37', b'\xff\xd9', b'\xff\xd3'):
            spoiled = content[:place] + marker + content[place + 2 :]
            taken = is_taken(spoiled)
            # A restart may be where one is meant to be.
            assert taken is None or 'restarts' in kind, (place, marker)


@pytest.mark.parametrize('kind', KINDS)
def test_flipped_bits(kind):
    generator = np.random.default_rng(0)
    content = KINDS[kind]
    for _ in range(40):
        spoiled = bytearray(content)
        spoiled[generator.integers(2, len(content))] ^= 1 << generator.integers(8)
        # No other error, and what is taken is as Pillow has it.
        taken = is_taken(bytes(spoiled))
        if taken is not None:
            np.testing.assert_array_equal(taken, by_pillow(bytes(spoiled)))


def test_what_is_said_first_does_not_hide_the_loss():
    """libjpeg-turbo stops at its first warning, which may be of no account."""
    version = bytearray(KINDS['plain'])
    assert version[6:11] == b'JFIF\0'
    version[11] = 9
    assert is_taken(bytes(version)) is not None
    assert is_taken(bytes(version[:3000]) + END) is None
    content = KINDS['restarts']
    first, second = content.index(b'\xff\xd0'), content.index(b'\xff\xd1')
    # More bytes than there should be, and then fewer.
    lost = content[:first] + b'abc' + content[first : second - 20] + content[second:]
    assert is_taken(lost) is None
    assert is_taken(KINDS['plain'][:-2] + 9 * b'abcd' + END) is not None


def test_scans_without_number():
    """Each, of eleven bytes, goes over the whole picture, as large as its header says."""
    content = KINDS['progressive']
    scan = content[content.rindex(b'\xff\xda') : -2]
    with pytest.raises(decoding.BrokenPicture, match='more than 500 scans'):
        decoding.decode(content[:-2] + 600 * scan + END)
    # In what an application keeps, and behind the end, these bytes are no scans.
    beside = b'\xff\xe5\x04\xb2' + 600 * b'\xff\xda'
    odd = content[:2] + beside + content[2:] + 600 * b'\xff\xda'
    np.testing.assert_array_equal(is_taken(odd), by_pillow(content))


def test_exif_without_number():
    """Pillow joins its segments one by one; 20,000 of them, a megabyte, took minutes."""
    whole = KINDS['plain']
    segment = b'\xff\xe1\0\x0aExif\0\0MM'
    few = whole[:2] + TURNED_SEGMENT + 99 * segment + whole[2:]
    assert decoding.decode(few).size == (150, 203)
    for between in (b'', b'\xff', b'\xff\xfe\0\2'):
        content = whole[:2] + 101 * (between + segment) + whole[2:]
        with pytest.raises(decoding.BrokenPicture, match='more than 100 segments of EXIF'):
            decoding.decode(content)


def test_a_file_that_never_ends(tmp_path):
    """Sparse, and read no further than its pixels can need."""
    path = tmp_path / 'vast.jpg'
    path.write_bytes(KINDS['plain'])
    with open(path, 'ab') as file:
        file.truncate(1 << 31)
    assert decoding.decode(path).size == (203, 150)


def test_they_are_skipped_and_named(tmp_path):
    cut = KINDS['plain'][:3000] + END
    examples = [
        conversion.Example('train', 'one', 'a', content, name)
        for name, content in (('whole.jpg', KINDS['plain']), ('cut.jpg', cut))
    ]
    size = preprocessing.Preprocessing(16, 3)
    conversion.convert(examples, tmp_path, size, total=2, max_broken=1)
    (line,) = conversion.broken_images(tmp_path)
    assert line.startswith('cut.jpg: its data end early, or are damaged: ')

"""Images of any size and mode become the store's shape, and look the same."""

import io

import numpy as np
from PIL import Image
import pytest

from dp_fedemb.data.images import preprocessing

# Red left half, blue right half, wide.
WIDE = np.zeros((20, 60, 3), np.uint8)
WIDE[:, :30, 0] = WIDE[:, 30:, 2] = 200


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def convert(image, **options):
    return preprocessing.Preprocessing(**{'image_size': 10, 'resampling': 'box', **options})(
        image
    )


def test_crop_keeps_the_middle():
    got = convert(WIDE)
    np.testing.assert_array_equal(
        got,
        np.concatenate(
            [np.tile([200, 0, 0], (10, 5, 1)), np.tile([0, 0, 200], (10, 5, 1))], axis=1
        ),
    )
    assert got.dtype == np.uint8


def test_pad_keeps_everything_between_bars():
    got = convert(WIDE, fit='pad', background=7)
    assert np.all(got[:3] == 7) and np.all(got[-4:] == 7)
    assert np.all(got[3:6, :5] == [200, 0, 0]) and np.all(got[3:6, 5:] == [0, 0, 200])


def test_stretch_keeps_everything_without_bars():
    got = convert(WIDE, fit='stretch')
    assert np.all(got[:, :5] == [200, 0, 0]) and np.all(got[:, 5:] == [0, 0, 200])


def test_centre():
    image = np.zeros((100, 100), np.uint8)
    image[30:70, 30:70] = 255
    assert np.all(convert(image, channels=1, centre=0.4) == 255)
    assert convert(image, channels=1).mean() == pytest.approx(255 * 0.16, abs=1)


@pytest.mark.parametrize('factor', [2, 5])
def test_shrinking_averages(factor):
    image = np.random.default_rng(0).integers(0, 256, (10 * factor, 10 * factor), np.uint8)
    blocks = image.reshape(10, factor, 10, factor).mean(axis=(1, 3))
    got = convert(image, channels=1)[..., 0]
    assert np.abs(got - blocks).max() <= 1


def test_unchanged_size_is_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (10, 10, 3), np.uint8)
    np.testing.assert_array_equal(convert(image), image)
    np.testing.assert_array_equal(convert(encode(Image.fromarray(image), 'PNG')), image)


def test_invert_turns_bars_as_well():
    got = convert(WIDE, channels=1, fit='pad', background=255, invert=True)
    assert np.all(got[0] == 0)
    assert np.all(got[4, :5] == 255 - 60)  # 0.299 of red 200


@pytest.mark.parametrize(
    'mode, level, expected',
    [
        ('1', 1, 255),
        ('L', 90, 90),
        ('LA', (90, 255), 90),
        ('P', 90, 90),
        ('RGB', (90, 90, 90), 90),
        ('RGBA', (90, 90, 90, 255), 90),
        ('CMYK', (0, 0, 0, 0), 255),
        ('I;16', 90 * 257, 90),
        ('I;16', 257, 1),
        ('F', 90 / 255, 90),
        ('YCbCr', (90, 128, 128), 90),
    ],
)
def test_every_mode(mode, level, expected):
    if mode == 'P':
        image = Image.new('L', (12, 12), level).convert('P')
    else:
        image = Image.new(mode, (12, 12), level)
    kind = {'CMYK': 'TIFF', 'F': 'TIFF', 'YCbCr': 'TIFF'}.get(mode, 'PNG')
    for channels in (1, 3):
        got = convert(encode(image, kind), channels=channels)
        assert got.shape == (10, 10, channels) and np.all(np.abs(got - float(expected)) <= 1)


def test_transparent_pixels_show_the_background():
    clear = Image.new('RGBA', (12, 12), (250, 250, 250, 0))
    assert np.all(convert(encode(clear, 'PNG'), background=40) == 40)
    palette = Image.new('L', (12, 12), 3).convert('P')
    assert np.all(convert(encode(palette, 'PNG', transparency=3), background=40) == 40)


def test_photographs_are_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera turned: the left side is up
    turned = encode(Image.fromarray(WIDE), 'PNG', exif=exif)
    got = convert(turned, fit='stretch')
    assert np.all(got[:5] == [200, 0, 0]) and np.all(got[5:] == [0, 0, 200])


def test_jpeg_decoded_at_a_fraction_looks_the_same():
    small = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    large = Image.fromarray(small).resize((800, 800), Image.Resampling.BICUBIC)
    got = convert(encode(large, 'JPEG', quality=95), image_size=20)
    expected = np.asarray(large.resize((20, 20), Image.Resampling.BOX), float)
    assert np.abs(got - expected).mean() < 2


def test_path_and_grey_array(tmp_path):
    Image.fromarray(WIDE).save(tmp_path / 'wide.bmp')
    np.testing.assert_array_equal(convert(tmp_path / 'wide.bmp'), convert(WIDE))
    grey = np.full((12, 12), 9, np.uint8)
    np.testing.assert_array_equal(convert(grey[..., None]), convert(grey))


@pytest.mark.parametrize('content', [b'', b'no image', None])
def test_broken_images_raise_what_conversion_skips(content):
    if content is None:
        content = encode(Image.fromarray(np.tile(WIDE, (5, 5, 1))), 'PNG')[:120]
    with pytest.raises((OSError, SyntaxError)):
        convert(content)


@pytest.mark.parametrize(
    'options, words',
    [
        ({'image_size': 0}, 'image_size=0'),
        ({'channels': 2}, 'channels=2'),
        ({'fit': 'zoom'}, "fit='zoom': expected one of stretch, pad, crop"),
        ({'resampling': 'x'}, "resampling='x'"),
        ({'centre': 0}, 'centre=0'),
    ],
)
def test_wrong_settings(options, words):
    with pytest.raises(ValueError, match=words):
        convert(WIDE, **options)
    with pytest.raises(ValueError, match='float32: expected uint8'):
        convert(WIDE.astype(np.float32))

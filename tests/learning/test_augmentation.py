"""Augmentation: each map does what its name says, and nothing else."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb.learning import augmentation
from dp_fedemb.learning import augmentation_config

KEY = tf.constant([1, 2], tf.int64)


def dot(x, y, size=21):
    """One bright spot at column x, row y."""
    image = np.zeros((1, size, size, 1), np.float32)
    image[0, y, x, 0] = 1
    return image


def center_of_mass(images):
    """[n, 2] as (x, y), from the middle of the image."""
    weights = np.asarray(images)[..., 0]
    grid = np.arange(weights.shape[1]) - (weights.shape[1] - 1) / 2
    total = weights.sum(axis=(1, 2))
    return np.stack(
        [
            (weights.sum(axis=1) * grid).sum(axis=1) / total,
            (weights.sum(axis=2) * grid).sum(axis=1) / total,
        ],
        axis=1,
    )


def many(image, **strengths):
    images = np.repeat(image, 200, axis=0)
    return augmentation.augment(
        images, augmentation_config.Augmentation(**strengths), KEY
    ).numpy()


def test_nothing_changes_without_strengths():
    images = np.random.default_rng(0).random((3, 8, 8, 3)).astype(np.float32)
    same = augmentation.augment(images, augmentation_config.Augmentation(), KEY)
    np.testing.assert_array_equal(images, same)
    assert not augmentation_config.Augmentation()


def test_identity_map_moves_no_pixel():
    # `flip` of tiny probability sends images through the resampling, unmirrored.
    images = np.random.default_rng(0).random((3, 8, 10, 3)).astype(np.float32)
    config = augmentation_config.Augmentation(flip=1e-9)
    np.testing.assert_allclose(augmentation.augment(images, config, KEY), images, atol=1e-5)


def test_shift_covers_its_range_and_keeps_the_shape():
    moved = center_of_mass(many(dot(10, 10), shift=0.2))
    assert 3.8 < np.abs(moved).max() <= 4.2 + 1e-3
    assert abs(np.mean(moved)) < 0.6


def test_rotation_keeps_the_distance_and_covers_its_range():
    moved = center_of_mass(many(dot(18, 10), rotation=0.4))
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 8, atol=0.4)
    angles = np.arctan2(moved[:, 1], moved[:, 0])
    assert 0.35 < angles.max() < 0.44 and -0.44 < angles.min() < -0.35


def test_shear_and_scale():
    sheared = center_of_mass(many(dot(10, 16), shear=0.3))
    assert np.abs(sheared[:, 1] - 6).max() < 0.1
    assert 1.6 < np.abs(sheared[:, 0]).max() < 1.9
    scaled = center_of_mass(many(dot(14, 10), scale=0.25))
    assert 2.9 < scaled[:, 0].min() < 3.4 and 4.8 < scaled[:, 0].max() < 5.5


def test_flip_mirrors_half_of_the_images_exactly():
    flipped = center_of_mass(many(dot(15, 3), flip=0.5))
    np.testing.assert_allclose(np.abs(flipped[:, 0]), 5, atol=1e-3)
    np.testing.assert_allclose(flipped[:, 1], -7, atol=1e-3)
    assert 60 < (flipped[:, 0] < 0).sum() < 140


def test_brightness_and_contrast():
    gray = np.full((1, 4, 4, 1), 0.5, np.float32)
    gray[0, 0, 0] = 0.7
    brighter = many(gray, brightness=0.2)
    change = brighter - gray
    assert np.ptp(change, axis=(1, 2, 3)).max() < 1e-6
    assert 0.18 < change.max() <= 0.2 and -0.2 <= change.min() < -0.18
    contrasted = many(gray, contrast=0.5)
    np.testing.assert_allclose(contrasted.mean(axis=(1, 2, 3)), gray.mean(), atol=1e-6)
    assert 1.4 < (contrasted.std(axis=(1, 2, 3)) / gray.std()).max() <= 1.5 + 1e-5
    assert many(gray, brightness=0.9).max() <= 1.0


def test_images_change_in_their_own_ways_and_by_the_key():
    config = augmentation_config.AUGMENTATIONS['photo']
    images = np.random.default_rng(0).random((1, 12, 12, 3)).astype(np.float32)
    twice = augmentation.augment(np.repeat(images, 2, axis=0), config, KEY)
    assert np.abs(twice[0] - twice[1]).max() > 0.05
    again = augmentation.augment(np.repeat(images, 2, axis=0), config, KEY)
    np.testing.assert_array_equal(twice, again)
    other = augmentation.augment(np.repeat(images, 2, axis=0), config, KEY + 1)
    assert np.abs(twice - other).max() > 0.05


def test_parse():
    assert augmentation_config.parse('none') == augmentation_config.Augmentation()
    parsed = augmentation_config.parse('glyph:rotation=0.5,fill=reflect')
    assert (parsed.rotation, parsed.fill, parsed.shift) == (0.5, 'reflect', 0.07)


@pytest.mark.parametrize(
    'text, words',
    [
        ('blur', "augmentation='blur'"),
        ('glyph:blur=1', "'blur': expected one of rotation"),
        ('glyph:shift=x', "shift='x' is no number"),
        ('glyph:shift=-1', 'shift=-1.0'),
        ('glyph:flip=2', 'flip=2.0'),
        ('glyph:scale=1', 'scale=1.0'),
        ('glyph:fill=black', "fill='black'"),
    ],
)
def test_refusals(text, words):
    with pytest.raises(ValueError, match=words):
        augmentation_config.parse(text)

"""Drawn identities: a function of seed and part alone, and styles that differ."""

import dataclasses
import os

import numpy as np
import pytest

from dp_fedemb.data import synthetic


def drawn(seed=0, **changes):
    part = dataclasses.replace(
        synthetic.Part('train', 70, images_per_identity=4, image_size=20), **changes
    )
    return np.concatenate(list(synthetic.draw(part, seed)))


def test_shape_and_ink():
    images = drawn(identities_per_user=2)
    assert images.shape == (70, 8, 20, 20, 1) and images.dtype == np.uint8
    ink = images.mean(axis=(1, 2, 3, 4)) / 255
    assert np.all((ink > 0.03) & (ink < 0.5))


def test_same_seed_same_drawings_on_any_number_of_cores(monkeypatch):
    first = drawn()
    monkeypatch.setattr(os, 'cpu_count', lambda: 1)
    np.testing.assert_array_equal(first, drawn())
    assert np.any(first != drawn(seed=1))


def test_fewer_users_are_the_first_of_more():
    np.testing.assert_array_equal(drawn()[:65], drawn(num_users=65))


def test_parts_share_no_drawing():
    train = {image.tobytes() for image in drawn().reshape(-1, 400)}
    test = {image.tobytes() for image in drawn(name='test').reshape(-1, 400)}
    assert len(train) == len(test) == 280 and not train & test


def test_no_denormal_numbers_reach_the_matrix_product():
    # They made it ten times slower. Strokes that are not there are the extreme case.
    sharpness = np.full((1, 1, 1), 2.0, np.float32)
    for centre in (14.0, -300.0, 30 * synthetic._NOWHERE):
        pen = synthetic._pen(np.full((1, 1, 1), centre, np.float32), sharpness, 28)
        assert np.square(pen).min() > np.finfo(np.float32).tiny
        assert (centre == 14) == (pen.max() > 1 / 255)


def nearest_is_same_identity(images):
    """Share of images whose nearest other image, by pixels, is of their identity."""
    flat = images.reshape(-1, 400).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    similarity = flat @ flat.T
    np.fill_diagonal(similarity, -1)
    identity = np.repeat(np.arange(len(images)), images.shape[1])
    return np.mean(identity[similarity.argmax(axis=1)] == identity)


def test_handwriting_is_hard_for_pixels_and_print_is_easy():
    # Neither hopeless (identities would be noise) nor solved without learning.
    handwriting = nearest_is_same_identity(drawn(num_users=320))
    assert 0.1 < handwriting < 0.75
    style = synthetic.STYLES['print']
    assert nearest_is_same_identity(drawn(num_users=320, style=style)) > 0.95


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'num_users': 0}, 'num_users=0'),
        ({'strokes': 1}, 'strokes=1'),
        ({'image_size': 4}, 'image_size=4'),
    ],
)
def test_impossible_parts(changes, words):
    with pytest.raises(ValueError, match=words):
        drawn(**changes)


def test_impossible_styles():
    for changes in ({'noise': -1}, {'thin': 2.0, 'thick': 1.0}, {'clutter': 3}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            synthetic.Style(**changes)

"""Records on the grid: the norm is at most B in integers, and nothing else is lost."""

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb.aggregation import fixed_point

GRID = fixed_point.Grid(2**20)
OPEN = fixed_point.Grid(None)


def squared_norm(record):
    """In Python's integers, so exactly."""
    return sum(
        int(number) ** 2 for leaf in tf.nest.flatten(record) for number in leaf.numpy().ravel()
    )


def clip(record, clip_norm, grid=GRID):
    return grid.clip(record, tf.constant(clip_norm, tf.float32))


@pytest.mark.parametrize('clip_norm', [1e-3, 0.7, 5.0])
def test_clip_is_of_the_whole_concatenation(clip_norm):
    record = {'a': tf.constant([3.0, 0.0]), 'b': [tf.constant([[4.0]]), tf.zeros([0])]}
    clipped, before = clip(record, clip_norm)
    assert before == 5.0 and clipped['a'].dtype == tf.int64
    assert squared_norm(clipped) <= GRID.units**2
    values = GRID.to_float(clipped, tf.constant(clip_norm))
    norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in tf.nest.flatten(values)))
    np.testing.assert_allclose(norm, clip_norm, rtol=1e-5)
    np.testing.assert_allclose(values['b'][0] / values['a'][0], [[4 / 3]], rtol=1e-5)


@settings(max_examples=300)
@given(
    size=strategies.integers(1, 300),
    exponent=strategies.floats(-30, 30),
    clip_exponent=strategies.floats(-12, 12),
    shape=strategies.sampled_from(['normal', 'equal', 'one', 'tiny and one', 'at the norm']),
    bits=strategies.integers(16, 24),
    seed=strategies.integers(0, 2**32 - 1),
)
def test_integer_norm_is_at_most_the_units_of_the_clip(
    size, exponent, clip_exponent, shape, bits, seed
):
    grid = fixed_point.Grid(2**bits)
    generator = np.random.default_rng(seed)
    clip_norm = np.float32(2.0**clip_exponent)
    record = generator.normal(size=size)
    if shape == 'equal':
        record = np.ones(size)
    elif shape != 'normal':
        record = np.full(size, 1e-9 if shape == 'tiny and one' else 0.0)
        record[seed % size] = 1.0
    record *= 2.0**exponent
    if shape == 'at the norm':
        record = generator.normal(size=size)
        record *= clip_norm / np.linalg.norm(record) * generator.choice([1 - 6e-8, 1, 1 + 6e-8])
    clipped, _ = clip([tf.constant(record, tf.float32)], clip_norm, grid)
    assert squared_norm(clipped) <= 4**bits


def test_a_large_record_keeps_the_bound_too():
    generator = np.random.default_rng(3)
    record = [tf.constant(generator.normal(size=3_000_000), tf.float32)]
    clipped, _ = clip(record, 1.0, fixed_point.Grid(2**20))
    exact = int(np.sum(clipped[0].numpy().astype(object) ** 2))
    assert 0.99 * 4**20 < exact <= 4**20


def test_mutation_a_scale_that_is_rounded_up_breaks_the_bound(monkeypatch):
    monkeypatch.setattr(fixed_point, 'MARGIN', 1.0 + 2.0**-18)
    record = [tf.constant([3.0, 4.0])]
    # What rounding towards zero takes off 5 B / 5 is less than that adds.
    clipped, _ = clip(record, 1.0, fixed_point.Grid(2**22))
    assert squared_norm(clipped) > 4**22


@pytest.mark.parametrize('clip_norm, grid', [(0.6, GRID), (np.inf, OPEN)])
def test_short_records_come_back(clip_norm, grid):
    record = [tf.constant([0.3, -0.4])]
    clipped, before = clip(record, clip_norm, grid)
    np.testing.assert_allclose(before, 0.5)
    values = grid.to_float(clipped, tf.constant(clip_norm, tf.float32))
    np.testing.assert_allclose(values[0], record[0], atol=1.1 * 0.6 / 2**20)


def test_without_a_clip_sums_are_of_float32_precision():
    record = [tf.constant([1.2345678e-3, -37.25, 4000.5])]
    clipped, _ = clip(record, np.inf, OPEN)
    values = OPEN.to_float(clipped, tf.constant(np.inf))
    np.testing.assert_allclose(values[0], record[0], rtol=1e-6)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('clip_norm, grid', [(1.0, GRID), (np.inf, OPEN)])
def test_unbounded_record_becomes_zero(bad, clip_norm, grid):
    record = [tf.constant([1.0, bad], tf.float32), tf.constant([2.0])]
    clipped, before = clip(record, clip_norm, grid)
    np.testing.assert_array_equal(np.concatenate(clipped), np.zeros(3))
    assert before == 0.0


def test_a_huge_record_is_clipped_or_without_a_clip_dropped():
    record = [tf.constant([1e30, -1e30])]
    clipped, before = clip(record, 1.0)
    np.testing.assert_allclose(before, 2**0.5 * 1e30, rtol=1e-6)
    np.testing.assert_allclose(clipped[0] / GRID.units, [0.5**0.5, -(0.5**0.5)], rtol=1e-5)
    dropped, before = clip(record, np.inf, OPEN)
    assert before == 0.0 and not np.any(dropped)


def test_the_grid_follows_from_public_numbers():
    build = lambda dimension, z=0.5: fixed_point.build(dimension, 0.5, z, 9, 20).units
    assert build(10) == build(4_000_000) == 2**20
    # By the root of the dimension, so that what rounding takes stays below C / 512.
    assert build(25_000_000) == 2**22
    # Noise that is small still has its thousand units, and without noise all is fine.
    assert 1024 <= 1e-8 * build(10, 1e-8) < 2048
    assert build(10, 0.0) == 2**44
    assert fixed_point.build(10, np.inf, 0.0, 9, 20).units is None

"""The clip that all mechanisms share, and the keys of their noise."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb.aggregation import sum_query

SEED = tf.constant([11, 22], tf.int64)


def norm(record):
    return np.sqrt(sum(np.sum(np.square(np.float64(leaf))) for leaf in tf.nest.flatten(record)))


@pytest.mark.parametrize('clip_norm', [1e-3, 0.7, 5.0])
def test_clip_is_of_the_whole_concatenation(clip_norm):
    record = {'a': tf.constant([3.0, 0.0]), 'b': [tf.constant([[4.0]]), tf.zeros([0])]}
    clipped, before = sum_query.clip_record(record, tf.constant(clip_norm))
    assert before == 5.0
    assert norm(clipped) <= clip_norm
    np.testing.assert_allclose(norm(clipped), clip_norm, rtol=1e-5)
    np.testing.assert_allclose(clipped['b'][0] / clipped['a'][0], [[4 / 3]], rtol=1e-6)


def test_norm_never_exceeds_the_bound_after_rounding():
    generator = np.random.default_rng(0)
    for scale in np.geomspace(0.5, 2.0, 60):
        record = [generator.normal(size=997).astype(np.float32) * scale / np.sqrt(997)]
        clipped, _ = sum_query.clip_record(record, tf.constant(1.0))
        assert norm(clipped) <= 1.0


def test_short_records_and_infinite_bounds_change_nothing():
    record = [tf.constant([0.3, -0.4])]
    for clip_norm in (0.6, np.inf):
        clipped, before = sum_query.clip_record(record, tf.constant(clip_norm, tf.float32))
        np.testing.assert_array_equal(clipped[0], record[0])
        np.testing.assert_allclose(before, 0.5)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize('clip_norm', [1.0, np.inf])
def test_unbounded_record_becomes_zero(bad, clip_norm):
    record = [tf.constant([1.0, bad], tf.float32), tf.constant([2.0])]
    clipped, before = sum_query.clip_record(record, tf.constant(clip_norm, tf.float32))
    np.testing.assert_array_equal(np.concatenate(clipped), np.zeros(3))
    assert before == 0.0


def test_round_seed_depends_on_key_round_and_stream_alone():
    keys = [
        tuple(sum_query.round_seed(seed, round_num, stream).numpy())
        for seed in (SEED, tf.constant([-987654321, 123456789], tf.int64))
        for round_num in range(20)
        for stream in range(5)
    ]
    assert len(set(keys)) == len(keys)
    again = sum_query.round_seed(SEED, tf.constant(7, tf.int32), tf.constant(3))
    assert tuple(again.numpy()) == keys[7 * 5 + 3]


def test_noise_of_equal_tensors_differs():
    first, second = sum_query.add_gaussian_noise([tf.zeros([50])] * 2, 1.0, SEED, 0)
    assert not np.any(first.numpy() == second.numpy())

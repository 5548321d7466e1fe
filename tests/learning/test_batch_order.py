"""Orders of a pass: every example once, identities together where asked."""

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb.learning import batch_order


def key(*values):
    return tf.constant(values, tf.int64)


LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 0, 0, 3], np.int32)


@pytest.mark.parametrize('per_identity', [0, 1, 2, 3, 100])
def test_every_example_once_and_anew_for_another_key(per_identity):
    orders = [
        batch_order.shuffled(LABELS, key(5, number), per_identity).numpy()
        for number in range(8)
    ]
    for order in orders:
        assert sorted(order) == list(range(len(LABELS)))
    assert len({tuple(order) for order in orders}) > 6
    again = batch_order.shuffled(LABELS, key(5, 0), per_identity)
    np.testing.assert_array_equal(orders[0], again)
    assert batch_order.shuffled(np.zeros(0, np.int32), key(1, 2), per_identity).shape == (0,)


def runs_of(labels):
    """Lengths of the runs of equal labels."""
    edges = np.flatnonzero(np.diff(labels)) + 1
    return np.diff([0, *edges, len(labels)])


def test_groups_of_an_identity_stand_together():
    labels = np.repeat(np.arange(50, dtype=np.int32), 4)
    order = batch_order.shuffled(labels, key(1, 1), 2).numpy()
    pairs = labels[order].reshape(-1, 2)
    np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])
    # Not whole identities: the two pairs of most are apart, and no order of labels is kept.
    assert np.mean(runs_of(labels[order]) == 2) > 0.9
    assert abs(np.corrcoef(labels[order], np.arange(200))[0, 1]) < 0.3
    # Which images make a pair is drawn, too.
    same = {tuple(sorted(pair)) for pair in order.reshape(-1, 2)}
    other = batch_order.shuffled(labels, key(1, 2), 2).numpy()
    assert len(same & {tuple(sorted(pair)) for pair in other.reshape(-1, 2)}) < 60

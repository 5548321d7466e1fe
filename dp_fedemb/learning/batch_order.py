"""The order in which a virtual client passes over its examples."""

import tensorflow as tf


def shuffled(labels: tf.Tensor, key: tf.Tensor, images_per_identity: int = 0) -> tf.Tensor:
    """Returns a random order of examples.

    With P = `images_per_identity` above 0 the examples of each identity are drawn into
    groups of P (the last may be smaller), and the groups are put into a random order: what
    Schroff et al. (FaceNet, CVPR 2015, section 3.2) ask of batches whose loss is over
    pairs, without leaving out an example.

    Args:
        labels: int32 [n], from 0.
        key: int64 [2]; same key, same order.
        images_per_identity: P; 0 for an order in which identities do not count.

    Returns:
        int32 [n], a permutation.
    """
    count = tf.size(labels)
    draws = tf.random.stateless_uniform([count], key)
    if images_per_identity == 0:
        return tf.argsort(draws)
    # Identity after identity, each in a random order of its own: labels and draws would
    # lose bits if they were added.
    at_random = tf.argsort(draws)
    by_identity = tf.gather(at_random, tf.argsort(tf.gather(labels, at_random), stable=True))
    sizes = tf.math.bincount(labels)
    starts = tf.cumsum(sizes, exclusive=True)
    position = tf.range(count)
    rank = position - tf.gather(starts, tf.gather(labels, by_identity))
    begins = tf.cast(tf.equal(rank % images_per_identity, 0), tf.int32)
    group = tf.cumsum(begins) - 1
    group_draws = tf.random.stateless_uniform([count], tf.random.fold_in(key, 1))
    return tf.gather(by_identity, tf.argsort(tf.gather(group_draws, group), stable=True))

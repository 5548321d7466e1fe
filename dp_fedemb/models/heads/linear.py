"""Linear head: logits = embeddings @ kernel + bias, the paper's default."""

import tensorflow as tf

from dp_fedemb.models.heads import base


class Linear(base.Head):
    """Softmax regression on the raw embedding."""

    def initial_weights(self, embedding_dim, num_identities, seed):
        kernel = base.glorot_uniform(embedding_dim, num_identities, seed)
        return [kernel, tf.zeros([num_identities])]

    def weight_shapes(self, embedding_dim):
        return [(embedding_dim, None), (None,)]

    def loss(self, weights, embeddings, labels):
        kernel, bias = weights
        return base.mean_cross_entropy(labels, embeddings @ kernel + bias)

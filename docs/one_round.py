"""One round of DP-FedEmb as a page of NumPy.

To be read from top to bottom: who takes part, what a virtual client does, what leaves
it, what is released. Xu et al. (CVPR 2023, arXiv 2211.10844), Algorithm 1, for a backbone
of two dense layers (image -> embedding) and a linear head (embedding -> identity).

    python docs/one_round.py

plays a round on drawn data. `tests/learning/test_reference_round.py` holds the functions
below equal to the TFF process and to every engine, for every option of `Client`.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Client:
    """How a virtual client fine-tunes; see `dp_fedemb.ClientConfig`.

    Left out: augmentation, views and images_per_identity, which change the images of a
    batch and their order, and nothing of the method.
    """

    learning_rate: float = 0.1
    head_lr_scale: float = 1.0
    head_only_steps: int = 0
    local_epochs: int = 1
    batch_size: int = 32
    momentum: float = 0.0
    local_lr_schedule: str = 'constant'


# Factor of the learning rate when that part of the local steps is done.
SCHEDULES = {
    'constant': lambda part: 1.0,
    'linear': lambda part: 1 - 0.99 * part,
    'cosine': lambda part: (1 + np.cos(np.pi * part)) / 2,
}


def sample_groups(num_users, group_size, probability, generator):
    """1. Divides the roster anew, without looking at data; a group joins as a whole."""
    order = generator.permutation(num_users)
    groups = np.split(order, range(group_size, num_users, group_size))
    return [group for group in groups if generator.random() < probability]


def fine_tune(theta, client, config, rate, draws):
    """2. Trains backbone and a fresh head of the client's own identities together.

    Returns the start minus the end of the backbone. The head is thrown away here.
    """
    backbone = [weight.astype(np.float64) for weight in theta]
    count, key = len(client['labels']), client['seed']
    num_identities = 1 + max(client['labels'], default=0)
    head = draws.head(backbone[-1].size, num_identities, key)
    momenta = [np.zeros_like(weight) for weight in backbone + head]
    step, steps = 0, config.local_epochs * -(-count // config.batch_size)
    for epoch in range(config.local_epochs):
        order = draws.order(count, key, epoch)
        for first in range(0, count, config.batch_size):
            batch = order[first : first + config.batch_size]
            slopes = gradients(
                backbone, head, client['examples'][batch], client['labels'][batch]
            )
            step_rate = rate * SCHEDULES[config.local_lr_schedule](step / steps)
            for index, (weight, slope) in enumerate(zip(backbone + head, slopes)):
                of_head = index >= len(backbone)
                if step < config.head_only_steps and not of_head:
                    continue
                momenta[index] = config.momentum * momenta[index] + slope
                weight -= step_rate * (config.head_lr_scale if of_head else 1) * momenta[index]
            step += 1
    return [start - end for start, end in zip(theta, backbone)]


def gradients(backbone, head, images, labels):
    """Of the mean cross-entropy of the softmax, backbone's first."""
    (w1, b1, w2, b2), (kernel, bias) = backbone, head
    x = images.reshape(len(images), -1) / 255.0
    hidden = x @ w1 + b1
    active = np.maximum(hidden, 0)
    embeddings = active @ w2 + b2
    logits = embeddings @ kernel + bias
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    d_logits = (probabilities - np.eye(len(bias))[labels]) / len(labels)
    d_embeddings = d_logits @ kernel.T
    d_hidden = (d_embeddings @ w2.T) * (hidden > 0)
    return [
        *(x.T @ d_hidden, d_hidden.sum(0), active.T @ d_embeddings, d_embeddings.sum(0)),
        *(embeddings.T @ d_logits, d_logits.sum(0)),
    ]


def clip(delta, clip_norm):
    """3. Bounds the norm over the whole backbone, so that nobody moves the sum further."""
    norm = np.sqrt(sum(np.sum(part**2) for part in delta))
    return [part * min(1.0, clip_norm / max(norm, 1e-30)) for part in delta]


def one_round(
    theta, clients, config, rate, clip_norm, expected_clients, noise, server_rate, draws
):
    """4. Sums, adds noise of standard deviation z C, divides by the public m, steps.

    The package does the sum and the noise in integers on a fixed grid (docs/privacy.md),
    which is finer than this comparison. `noise` is what is added to the sum.
    """
    total = [np.zeros(weight.shape) for weight in theta]
    for client in clients:
        update = clip(fine_tune(theta, client, config, rate, draws), clip_norm)
        total = [whole + part for whole, part in zip(total, update)]
    # Not by how many took part: that number is private.
    mean = [(part + extra) / expected_clients for part, extra in zip(total, noise)]
    return [weight - server_rate * part for weight, part in zip(theta, mean)]


class Draws:
    """Random numbers of a virtual client, functions of its key alone."""

    def head(self, dim, num_identities, key):
        limit = np.sqrt(6 / (dim + num_identities))
        shape = dim, num_identities
        return [np.random.default_rng(key).uniform(-limit, limit, shape), np.zeros(shape[1])]

    def order(self, count, key, epoch):
        return np.random.default_rng([*key, epoch]).permutation(count)


def main():
    """Plays a round: 40 users of two identities each, groups of four, half of them join."""
    generator = np.random.default_rng(7)
    users = generator.integers(0, 256, (40, 6, 4, 4))
    theta = [generator.normal(0, 0.3, shape) for shape in ((16, 12), 12, (12, 5), 5)]
    clients = [
        {
            'examples': users[group].reshape(-1, 4, 4),
            'labels': np.repeat(np.arange(2 * len(group)), 3),
            'seed': generator.integers(0, 2**63, 2),
        }
        for group in sample_groups(40, 4, 0.5, generator)
    ]
    clip_norm, noise_multiplier = 0.2, 0.6
    noise = [generator.normal(0, noise_multiplier * clip_norm, w.shape) for w in theta]
    config = Client(head_lr_scale=10.0, head_only_steps=1, batch_size=8)
    new = one_round(theta, clients, config, 0.1, clip_norm, 5, noise, 1.0, Draws())
    moved = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(new, theta)))
    print(f'{len(clients)} virtual clients; the backbone moved by {moved:.3f}')


if __name__ == '__main__':
    main()

"""A round of DP-FedEmb against a reference in NumPy, gradients by hand.

The reference follows the paper's Algorithm 1 line by line, in float64, for a backbone
of two dense layers and a linear head. It shares with the library nothing but the keyed
random draws (a head's start, the order of the examples, the noise).
"""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.engines import in_process
from dp_fedemb.learning import client_config
from dp_fedemb.learning import process as process_lib

SIZES = (7, 4, 0, 9, 1, 6)
CONFIGS = {
    'one epoch': client_config.ClientConfig(learning_rate=0.3, batch_size=4),
    'all options': client_config.ClientConfig(
        learning_rate=0.2,
        head_lr_scale=5.0,
        head_only_steps=2,
        local_epochs=3,
        batch_size=3,
        momentum=0.8,
        local_lr_schedule='cosine',
    ),
    'local schedule': client_config.ClientConfig(
        learning_rate=0.3, batch_size=4, local_epochs=2, local_lr_schedule='linear'
    ),
    'one batch': client_config.ClientConfig(learning_rate=0.5, batch_size=100, momentum=0.5),
    'head only': client_config.ClientConfig(head_only_steps=1000, batch_size=4),
}


# The reference.


def new_head(dim, identities, seed):
    limit = np.sqrt(6 / (dim + identities))
    kernel = tf.random.stateless_uniform([dim, identities], seed, -limit, limit)
    return [kernel.numpy().astype(np.float64), np.zeros(identities)]


def order_of_epoch(count, seed, epoch):
    key = tf.random.fold_in(tf.constant(seed), tf.constant(epoch, tf.int64))
    return np.argsort(tf.random.stateless_uniform([count], key).numpy(), kind='stable')


def gradients(backbone, head, images, labels):
    """Of the mean cross-entropy, for backbone and head."""
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
    of_backbone = [
        x.T @ d_hidden,
        d_hidden.sum(0),
        active.T @ d_embeddings,
        d_embeddings.sum(0),
    ]
    return of_backbone, [embeddings.T @ d_logits, d_logits.sum(0)]


LOCAL_FACTORS = {
    'constant': lambda part: 1.0,
    'linear': lambda part: 1 - 0.99 * part,
    'cosine': lambda part: (1 + np.cos(np.pi * part)) / 2,
}


def local_update(theta, client, config, rate):
    """Algorithm 1, the client's part: start minus end of the backbone."""
    backbone = [weight.astype(np.float64) for weight in theta]
    count = len(client['labels'])
    identities = 1 + max(client['labels'], default=0)
    head = new_head(backbone[-1].size, identities, client['seed'])
    momenta = [np.zeros_like(weight) for weight in backbone + head]
    step, steps = 0, config.local_epochs * int(np.ceil(count / config.batch_size))
    for epoch in range(config.local_epochs):
        order = order_of_epoch(count, client['seed'], epoch)
        for first in range(0, count, config.batch_size):
            batch = order[first : first + config.batch_size]
            of_backbone, of_head = gradients(
                backbone, head, client['images'][batch], client['labels'][batch]
            )
            joint = step >= config.head_only_steps
            step_rate = rate * LOCAL_FACTORS[config.local_lr_schedule](step / steps)
            for index, (weight, gradient) in enumerate(
                zip(backbone + head, of_backbone + of_head)
            ):
                in_head = index >= len(backbone)
                if not (joint or in_head):
                    continue
                momenta[index] = config.momentum * momenta[index] + gradient
                scale = config.head_lr_scale if in_head else 1.0
                weight -= step_rate * scale * momenta[index]
            step += 1
    return [start - end for start, end in zip(theta, backbone)]


def reference_round(
    theta, clients, config, rate, clip_norm, virtual_clients, noise, server_rate
):
    """Algorithm 1, the server's part; `noise` is what is added to the mean."""
    total = [np.zeros(weight.shape) for weight in theta]
    for client in clients:
        delta = local_update(theta, client, config, rate)
        norm = np.sqrt(sum(np.sum(part**2) for part in delta))
        shrink = min(1.0, clip_norm / max(norm, 1e-30))
        total = [whole + shrink * part for whole, part in zip(total, delta)]
    mean = [part / virtual_clients + extra for part, extra in zip(total, noise)]
    return [weight - server_rate * part for weight, part in zip(theta, mean)]


# The tests.


def noise_of_round(query, theta, round_num):
    state = query.initial_global_state()
    zero = query.initial_sample_state([tf.TensorSpec(weight.shape) for weight in theta])
    for _ in range(round_num + 1):
        noise, state, _ = query.get_noised_result(zero, state)
    return [part.numpy() for part in noise]


def rounds_of_reference(theta, rounds, config, plan, query, schedule=lambda round_num: 1.0):
    for round_num, clients in enumerate(rounds):
        theta = reference_round(
            theta,
            clients,
            config,
            config.learning_rate * schedule(round_num),
            plan.mechanism.clip_norm,
            plan.virtual_clients_per_round,
            noise_of_round(query, theta, round_num),
            server_rate=0.7,
        )
    return theta


def start(engine, weights):
    return engine.set_model_weights(
        engine.initialize(), tff.learning.models.ModelWeights(weights, [])
    )


def assert_weights(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize('mechanism', ['clip_only', 'gaussian'])
@pytest.mark.parametrize('config', CONFIGS.values(), ids=list(CONFIGS))
def test_rounds_match_the_reference(
    config, mechanism, small_model, small_weights, make_clients, make_plan, describe, read
):
    plan = make_plan(mechanism)
    query = aggregation.build_query(privacy.PrivateRun(plan, 31), small_model.record_specs())
    rounds = [make_clients(SIZES, seed) for seed in range(2)]
    halve = lambda round_num: 0.5**round_num
    engine = in_process.InProcessEngine(
        small_model,
        config,
        query=query,
        reader=read,
        num_shards=1,
        server_optimizer=tff.learning.optimizers.build_sgdm(0.7),
        learning_rate_schedule=lambda round_num: tf.pow(0.5, tf.cast(round_num, tf.float32)),
    )
    state = start(engine, small_weights)
    for clients in rounds:
        state = engine.next(state, [describe(clients)]).state
    expected = rounds_of_reference(small_weights, rounds, config, plan, query, halve)
    assert_weights(state.global_model_weights.trainable, expected)
    if mechanism != 'gaussian':
        moved = max(np.abs(new - old).max() for new, old in zip(expected, small_weights))
        assert (moved > 1e-3) == (config.head_only_steps < 1000)


def test_tff_process_matches_the_reference(
    tff_runtime, small_model, small_weights, make_clients, make_plan, describe, read_sequence
):
    plan, config = make_plan('gaussian'), CONFIGS['all options']
    query = aggregation.build_query(privacy.PrivateRun(plan, 31), small_model.record_specs())
    process = process_lib.build_dp_fedemb(
        small_model,
        config,
        query=query,
        server_optimizer=tff.learning.optimizers.build_sgdm(0.7),
    )
    state = start(process, small_weights)
    rounds = [make_clients(SIZES, seed) for seed in range(2)]
    for clients in rounds:
        shards = [read_sequence(describe(part)) for part in (clients[:2], clients[2:])]
        state = process.next(state, shards).state
    expected = rounds_of_reference(small_weights, rounds, config, plan, query)
    assert_weights(process.get_model_weights(state).trainable, expected)


@pytest.mark.parametrize(
    'fault',
    [
        {'head_lr_scale': 1.0},
        {'momentum': 0.0},
        {'head_only_steps': 0},
        {'local_epochs': 2},
        {'batch_size': 4},
        {'learning_rate': 0.21},
        {'local_lr_schedule': 'constant'},
    ],
    ids=str,
)
def test_reference_tells_every_option(
    fault, small_model, small_weights, make_clients, make_plan
):
    plan, config = make_plan('none'), CONFIGS['all options']
    query = aggregation.build_query(privacy.PrivateRun(plan, 31), small_model.record_specs())
    rounds = [make_clients(SIZES)]
    with_fault = dataclasses.replace(config, **fault)
    results = [
        rounds_of_reference(small_weights, rounds, each, plan, query)
        for each in (config, with_fault)
    ]
    with pytest.raises(AssertionError):
        assert_weights(*results)

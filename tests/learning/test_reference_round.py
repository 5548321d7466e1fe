"""A round of DP-FedEmb against the page of NumPy in docs/one_round.py, gradients by hand.

It shares with the library nothing but the keyed random draws (a head's start, the order
of the examples, the noise).
"""

import dataclasses
import importlib.util
import pathlib

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


def load_one_round():
    path = pathlib.Path(__file__).parents[2] / 'docs' / 'one_round.py'
    spec = importlib.util.spec_from_file_location('one_round', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ONE_ROUND = load_one_round()


class Draws:
    """The library's keyed draws: all that the reference shares with it, beside the noise."""

    def head(self, dim, identities, seed):
        limit = np.sqrt(6 / (dim + identities))
        kernel = tf.random.stateless_uniform([dim, identities], seed, -limit, limit)
        return [kernel.numpy().astype(np.float64), np.zeros(identities)]

    def order(self, count, seed, epoch):
        key = tf.random.fold_in(tf.constant(seed), tf.constant(epoch, tf.int64))
        return np.argsort(tf.random.stateless_uniform([count], key).numpy(), kind='stable')


# The tests.


def noise_of_round(query, theta, round_num):
    state = query.initial_global_state()
    zero = query.initial_sample_state([tf.TensorSpec(weight.shape) for weight in theta])
    for _ in range(round_num + 1):
        noise, state, _ = query.get_noised_result(zero, state)
    return [part.numpy() for part in noise]


def rounds_of_reference(theta, rounds, config, plan, query, schedule=lambda round_num: 1.0):
    for round_num, clients in enumerate(rounds):
        # The query's result is the mean; the page adds the noise to the sum.
        m = plan.virtual_clients_per_round
        noise = [
            m * part.astype(np.float64) for part in noise_of_round(query, theta, round_num)
        ]
        theta = ONE_ROUND.one_round(
            theta,
            clients,
            config,
            config.learning_rate * schedule(round_num),
            plan.mechanism.clip_norm,
            m,
            noise,
            server_rate=0.7,
            draws=Draws(),
        )
    return theta


def start(engine, weights):
    return engine.set_model_weights(
        engine.initialize(), tff.learning.models.ModelWeights(weights, [])
    )


def assert_weights(actual, expected, atol=2e-6):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=atol)


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
    query = aggregation.build_query(
        privacy.PrivateRun(plan, 31), small_model.record_specs(), in_graph=True
    )
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
    # Where noise is drawn in the graph, the grid is coarser.
    assert_weights(process.get_model_weights(state).trainable, expected, atol=2e-5)


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


def test_the_page_knows_every_setting_of_a_client():
    fields = {field.name: field.default for field in dataclasses.fields(ONE_ROUND.Client)}
    ours = {f.name: f.default for f in dataclasses.fields(client_config.ClientConfig)}
    # The page says that it leaves out how batches are drawn and changed.
    for name in ('augmentation', 'views', 'images_per_identity'):
        del ours[name]
    assert fields == ours


def test_whole_groups_of_the_page():
    groups = ONE_ROUND.sample_groups(11, 4, 1.0, np.random.default_rng(0))
    assert [len(group) for group in groups] == [4, 4, 3]
    assert sorted(np.concatenate(groups)) == list(range(11))


def test_the_page_runs(capsys):
    ONE_ROUND.main()
    assert 'virtual clients; the backbone moved by' in capsys.readouterr().out

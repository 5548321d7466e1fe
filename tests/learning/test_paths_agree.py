"""Plain TFF path, sharded TFF path and in-process engine: the same rounds.

Noise included, for every mechanism, over rounds in which trees end, clip norms move,
virtual clients are empty and once nobody takes part at all. TFF gets sequences of virtual
clients here, the engine shards with rows.
"""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.engines import in_process
from dp_fedemb.learning import client_config
from dp_fedemb.learning import local_fine_tuning
from dp_fedemb.learning import process as process_lib

CONFIG = client_config.ClientConfig(
    learning_rate=0.3, head_lr_scale=2.0, head_only_steps=1, batch_size=4, momentum=0.5
)
ROUNDS = [(5, 3, 0, 7), (2, 0, 6, 1), (0, 0, 0, 0), (4, 4, 4, 9), (3, 0, 8, 1)]
SEED = 77
# Whose noise can be drawn in a graph.
IN_GRAPH = sorted(
    name for name, cls in privacy.MECHANISMS.items() if not issubclass(cls, privacy.Correlated)
)


def optimizer():
    return tff.learning.optimizers.build_sgdm(0.7, 0.9)


def start(engine, weights):
    return engine.set_model_weights(
        engine.initialize(), tff.learning.models.ModelWeights(weights, [])
    )


def numpy_weights(state):
    return [np.asarray(weight) for weight in state.global_model_weights.trainable]


@pytest.mark.parametrize('mechanism', IN_GRAPH)
def test_same_weights_after_every_round(
    mechanism,
    tff_runtime,
    small_model,
    small_weights,
    make_clients,
    make_plan,
    describe,
    read,
    read_sequence,
):
    plan = make_plan(mechanism)
    query = aggregation.build_query(
        privacy.PrivateRun(plan, SEED), small_model.record_specs(), in_graph=True
    )
    sharded = process_lib.build_dp_fedemb(
        small_model, CONFIG, query=query, server_optimizer=optimizer()
    )
    plain = process_lib.build_dp_fedemb(
        small_model,
        CONFIG,
        server_optimizer=optimizer(),
        model_aggregator=aggregation.build_aggregation_factory(privacy.PrivateRun(plan, SEED)),
    )
    engine = in_process.InProcessEngine(
        small_model,
        CONFIG,
        query=query,
        server_optimizer=optimizer(),
        reader=read,
        num_shards=2,
    )
    states = {
        name: start(each, small_weights)
        for name, each in (('sharded', sharded), ('plain', plain), ('engine', engine))
    }
    before = small_weights
    for round_num, sizes in enumerate(ROUNDS):
        clients = make_clients(sizes, round_num)
        # Another division into shards than the engine's; one shard holds nothing.
        shards = [describe(clients[:1]), describe(clients[1:]), describe([])]
        states['sharded'] = sharded.next(
            states['sharded'], [read_sequence(shard) for shard in shards]
        ).state
        states['plain'] = plain.next(
            states['plain'], [read_sequence(describe([client])) for client in clients]
        ).state
        states['engine'] = engine.next(
            states['engine'], [describe(clients[::2]), describe(clients[1::2])]
        ).state
        after = numpy_weights(states['engine'])
        for name in ('sharded', 'plain'):
            for one, other in zip(numpy_weights(states[name]), after, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        # Even where nobody took part: noise, and the server's momentum.
        assert all(np.any(old != new) for old, new in zip(before, after))
        before = after
    if 'adaptive' in mechanism:
        clip_norm = states['plain'].aggregator.query_state.numerator_state.clip_norm
        assert clip_norm != np.float32(0.5)
        for name in ('sharded', 'engine'):
            other = states[name].aggregator.numerator_state.clip_norm
            np.testing.assert_allclose(other, clip_norm, rtol=1e-6)


def run_engine(plan, small_model, small_weights, clients, describe, read, num_shards=1):
    engine = in_process.InProcessEngine(
        small_model,
        CONFIG,
        query=aggregation.build_query(
            privacy.PrivateRun(plan, SEED), small_model.record_specs()
        ),
        server_optimizer=tff.learning.optimizers.build_sgdm(1.0),
        reader=read,
        num_shards=num_shards,
    )
    shards = [describe(clients[index::num_shards]) for index in range(num_shards)]
    output = engine.next(start(engine, small_weights), shards)
    return numpy_weights(output.state), output


@pytest.fixture(scope='module')
def weights_after_one_round(small_model, small_weights, make_clients, describe, read):
    """Function from a plan to the weights after a round of four virtual clients."""
    clients = make_clients((5, 3, 0, 7))

    def run(plan, **options):
        arguments = (plan, small_model, small_weights, clients, describe, read)
        return run_engine(*arguments, **options)[0]

    return run


def test_neither_clip_nor_noise_is_plain_averaging(
    weights_after_one_round, small_model, small_weights, make_clients, make_plan
):
    tuning = local_fine_tuning.LocalFineTuning(small_model, CONFIG)
    spec = local_fine_tuning.virtual_client_spec(small_model.example_spec)
    update = tf.function(
        lambda client: tuning.update(theta, client, tf.constant(0.3))[0], [spec]
    )
    theta = [tf.constant(weight) for weight in small_weights]
    mean = [np.zeros_like(weight) for weight in small_weights]
    for client in make_clients((5, 3, 0, 7)):
        client = tf.nest.map_structure(tf.constant, client)
        mean = [total + part / 8 for total, part in zip(mean, update(client))]
    expected = [weight - part for weight, part in zip(small_weights, mean)]
    plain = weights_after_one_round(make_plan('none'))
    loose = weights_after_one_round(make_plan(privacy.ClipOnly(1e6)))
    for weights in (plain, loose):
        for one, other in zip(weights, expected):
            np.testing.assert_allclose(one, other, atol=1e-6)
    # And each of the two shows.
    for mechanism in (privacy.ClipOnly(0.01), privacy.Gaussian(1e6, 1e-8)):
        changed = weights_after_one_round(make_plan(mechanism))
        assert max(np.abs(one - other).max() for one, other in zip(changed, plain)) > 1e-4


def test_shards_may_be_any_number(weights_after_one_round, make_plan):
    plan = make_plan('gaussian')
    one = weights_after_one_round(plan)
    # The last of five shards holds nothing.
    for ours, theirs in zip(weights_after_one_round(plan, num_shards=5), one):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_engine_refuses_another_number_of_shards(
    small_model, small_weights, make_plan, describe, read
):
    engine = in_process.InProcessEngine(
        small_model,
        CONFIG,
        query=aggregation.build_query(
            privacy.PrivateRun(make_plan('none'), SEED), small_model.record_specs()
        ),
        server_optimizer=optimizer(),
        reader=read,
        num_shards=2,
    )
    with pytest.raises(ValueError, match='1 shards: expected 2'):
        engine.next(start(engine, small_weights), [describe([])])

"""The partial aggregator in somebody else's pipeline: stock federated averaging, but private.

Only the backbone's update leaves the clients, through this package's Gaussian mechanism;
the classifier stays where it was trained. What is the pipeline's own: the model, the
loop, the data. What it must take from the run: the cohorts and the noise.

    python examples/own_tff_pipeline.py
"""

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

import dp_fedemb

ROUNDS = 3


def model_fn() -> tff.learning.models.VariableModel:
    """A backbone of one layer and a classifier over ten classes."""
    layers = tf.keras.layers
    return tff.learning.models.from_keras_model(
        tf.keras.Sequential(
            [tf.keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(16), layers.Dense(10)]
        ),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        input_spec=(tf.TensorSpec([None, 8, 8, 1]), tf.TensorSpec([None], tf.int32)),
    )


def client_data(user: int) -> tf.data.Dataset:
    """The pipeline's own data of a user; drawn, here."""
    generator = np.random.default_rng(user)
    images = generator.normal(size=(6, 8, 8, 1)).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices((images, [user % 10] * 6)).batch(3)


def main() -> None:
    """Trains for a few rounds and says what they cost."""
    plan = dp_fedemb.PrivacyPlan(
        num_users=200,
        virtual_clients_per_round=20,
        users_per_virtual_client=1,
        rounds=ROUNDS,
        mechanism=dp_fedemb.privacy.Gaussian(clip_norm=0.5, noise_multiplier=2.0),
    )
    run = dp_fedemb.PrivateRun.start(plan)  # A secret seed from the operating system.
    backbone = [tf.TensorSpec([64, 16]), tf.TensorSpec([16])]
    query = dp_fedemb.build_query(run, backbone, in_graph=True)
    process = tff.learning.algorithms.build_unweighted_fed_avg(
        model_fn,
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(0.1),
        model_aggregator=dp_fedemb.PartialAggregationFactory(
            tff.aggregators.DifferentiallyPrivateFactory(query),
            selected=[0, 1],  # Kernel and bias of the backbone.
        ),
        # Loss and numbers of examples would leave without noise, outside the guarantee.
        metrics_aggregator=dp_fedemb.aggregation.drop_metrics,
    )
    with dp_fedemb.LocalRuntime():
        state = process.initialize()
        start = process.get_model_weights(state).trainable
        for round_num in range(plan.rounds):
            # The epsilon is about these users and no others.
            users = np.concatenate([[], *run.cohort(round_num).users]).astype(int)
            state = process.next(state, [client_data(user) for user in users]).state
        end = process.get_model_weights(state).trainable
    moved = [bool(np.any(a != b)) for a, b in zip(start, end)]
    print(f'moved: backbone {moved[:2]}, classifier {moved[2:]}')
    # In a graph the noise is not quite the Gaussian that is accounted; delta pays for it.
    statement = dp_fedemb.privacy.statement(
        plan,
        noise_bits=query.noise.generator,
        statistical_distance=query.statistical_distance(plan.rounds),
    )
    print(*dp_fedemb.privacy.statement_headline(statement))


if __name__ == '__main__':
    main()
